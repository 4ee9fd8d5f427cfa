"""The daemon as a process of its own, the way `ktd serve` runs it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from processes import children

CODE = (
    "import os, sys; from ktd.daemon.main import run; from ktd.daemon.choices import choose;"
    "sys.exit(run(choose(os.environ).settings, until_stdin_closes=sys.argv[1:] == ['until-stdin-closes']))"
)


class DaemonProcess:
    def __init__(self, home: Path, *arguments: str, host: str = "127.0.0.1:0", **variables: str) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("KTD_", "OLLAMA_"))}
        environ |= {"KTD_HOME": str(home), "KTD_HOST": host} | variables
        self.home = home
        self.address = ""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, "-P", "-c", CODE, *arguments], env=environ, text=True, **pipes)

    def url(self) -> str:
        """Wait for the line that says where it listens."""
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        return self.line.split(" on ")[1].split()[0]

    def children(self) -> dict[int, str]:
        """Command lines of the processes that it has started, by pid."""
        return children(self.process.pid)

    def workers(self) -> list[int]:
        return [pid for pid, command in self.children().items() if "ktd.engine.worker" in command]

    def unload(self) -> None:
        """Have every model leave memory."""
        with urlopen(f"{self.address}/api/ps") as reply:
            names = [model["name"] for model in json.load(reply)["models"]]
        for name in names:
            with urlopen(f"{self.address}/api/generate", json.dumps({"model": name, "keep_alive": 0}).encode()):
                pass

    def end(self) -> tuple[int, str, str]:
        """Exit status and what it wrote besides its first line, once it has ended."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def gone(pids: list[int]) -> bool:
    """Whether all of these processes end, within a time that only a broken test needs."""
    for _ in range(2000):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.01)
    return False
