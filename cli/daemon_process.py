"""A daemon for the lifetime of one command.

The daemon's stdin is a pipe that only this process holds: however the command ends, kill -9 included, the
pipe closes and the daemon with it.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Self

from ktd.cli.client import CliError

GRACE = 20.0  # seconds for running answers to stop and workers to leave, before the daemon is killed
LOG_TAIL = 15


class DaemonProcess:
    """`ktd serve` as a child, logging to `log`."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path, log_start: int) -> None:
        self._child = child
        self._log = log
        self._log_start = log_start

    @classmethod
    def start(cls, home: Path) -> Self:
        log = home / "daemon.log"
        try:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            with log.open("ab") as output:
                start = output.tell()
                child = subprocess.Popen(
                    [sys.executable, "-P", "-m", "ktd.cli.main", "serve", "--until-stdin-closes"],
                    env=os.environ | {"KTD_HOME": str(home)},
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C at the terminal is for the command, not for its daemon
                )
        except OSError as error:
            raise CliError(f"cannot start a daemon with {home}: {error.strerror or error}") from None
        return cls(child, log, start)

    @property
    def ended(self) -> bool:
        return self._child.poll() is not None

    def last_words(self) -> str:
        """The end of what this daemon logged, from its complaint on; its settings come before that."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        complaint = next((i for i, line in enumerate(lines) if line.startswith("ktd: ")), 0)
        return "\n".join(lines[complaint:][-LOG_TAIL:]) or f"it exited with status {self._child.returncode}"

    async def stop(self) -> None:
        """Close the pipe and wait; what does not leave by itself is ended."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        for end in (None, self._child.terminate, self._child.kill):
            if end is not None:
                end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._child.wait, GRACE)
                return
