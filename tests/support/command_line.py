"""`ktd` as a user has it: a process of its own, with an environment of its own."""

import os
import subprocess
import sys
from pathlib import Path

KTD = [sys.executable, "-P", "-m", "ktd.cli.main"]
TIME_LIMIT = 300.0  # only ends a hung test


def environment(home: Path, url: str) -> dict[str, str]:
    """This process's, without settings of whoever runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KTD_", "OLLAMA_"))}
    quiet = {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}  # a pseudo-terminal does not say where its cursor is
    return kept | quiet | {"KTD_HOME": str(home), "KTD_HOST": url, "HOME": str(home)}


class CommandLine:
    """Runs `ktd` against the daemon at `url`."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.env = environment(home, url)

    def __call__(self, *words: str, stdin: str = "", cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*KTD, *words], input=stdin, env=self.env, cwd=cwd, capture_output=True, text=True, timeout=TIME_LIMIT
        )

    def start(self, *words: str, stdout: Path | None = None) -> "subprocess.Popen[str]":
        """A command that goes on while the test does; its stdin is empty, its output a pipe or this file."""
        with open(stdout or os.devnull, "w") as file:
            return subprocess.Popen(
                [*KTD, *words],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=file if stdout else subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
