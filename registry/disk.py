"""What a disk that takes no more bytes means to the user."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ktd.registry.errors import DiskFailed, NoSpace, PullError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: OSError) -> bool:
    return error.errno in FULL


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises DiskFailed for what goes wrong with this file in the block."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise DiskFailed(f"the disk with {path.parent} is full; free some space and try again") from error
        raise DiskFailed(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def fetching(path: Path) -> Iterator[None]:
    """Raises NoSpace or PullError for what goes wrong with this file of a pull in the block."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            text = f"the disk with {path.parent} is full; free some space and pull again, nothing is lost"
            raise NoSpace(text) from error
        raise PullError(f"{path} cannot be written: {error.strerror}") from error
