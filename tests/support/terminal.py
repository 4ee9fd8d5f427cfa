"""A program on a pseudo-terminal, typed at and read from."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from types import TracebackType
from typing import Self

# The child makes the pty its controlling terminal, so that Ctrl-C is a signal as on a real one.
WRAPPER = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
WIPED = re.compile(rb"\r\x1b\[K[^\r\n]*(?=\r\x1b\[K)")  # spinner frames, each on the line of the one before
CONTROL = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r")
TIME_LIMIT = 300.0  # only ends a hung test


def shown(raw: bytes) -> str:
    """What a terminal has after these bytes, as far as it is plain text."""
    return CONTROL.sub(b"", WIPED.sub(b"", raw)).decode(errors="replace")


class Terminal:
    """`text` is what was shown and left, without control sequences; `raw` has them."""

    def __init__(self, command: list[str], env: dict[str, str], size: tuple[int, int] = (40, 100)) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, size)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", WRAPPER, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
        )
        os.close(slave)
        self.raw = b""
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        return shown(self.raw)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, expected: str) -> str:
        """Read until `expected` is shown after what was waited for before; returns what came between."""
        limit = time.monotonic() + TIME_LIMIT
        while (place := self.text.find(expected, self._seen)) < 0:
            assert time.monotonic() < limit, f"{expected!r} did not come after:\n{self.text[self._seen :]}"
            assert self._read(1.0), f"it ended before {expected!r}:\n{self.text[self._seen :]}"
        between, self._seen = self.text[self._seen : place], place + len(expected)
        return between

    def wait_for_end(self) -> int:
        while self._read(TIME_LIMIT):
            pass
        return self.process.wait(TIME_LIMIT)

    def _read(self, seconds: float) -> bool:
        """Take what is there; False when the program has left the terminal."""
        if not select.select([self._master], [], [], seconds)[0]:
            return self.process.poll() is None
        try:
            chunk = os.read(self._master, 65536)
        except OSError:
            return False
        self.raw += chunk
        return bool(chunk)
