"""The daemon's folder: one daemon at a time, and a key that proves a client to be the same user."""

import fcntl
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "daemon.lock"
KEY = "local.key"


class HomeError(Exception):
    """The folder cannot be used; the text says why."""


class LocalKey:
    """A secret in a file that only this user can read, made anew at every start."""

    def __init__(self, home: Path) -> None:
        self._key = secrets.token_urlsafe(32)
        staged = home / f"{KEY}.{os.getpid()}"
        try:
            staged.unlink(missing_ok=True)
            with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(self._key)
            staged.replace(home / KEY)
        except OSError as error:
            raise HomeError(f"{home} cannot be written: {error.strerror}") from error

    def opens(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self._key.encode())


@contextmanager
def claimed(home: Path) -> Iterator[None]:
    """Hold the folder for this process. Raises HomeError when another daemon does."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeError(f"{home} cannot be used: {error.strerror}") from error
    with open(descriptor, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HomeError(f"{home} is in use by another ktd daemon (pid {lock.read().strip()})") from error
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield
