"""Which processes run for a KTD_HOME."""

import os
import time
from pathlib import Path

TIME_LIMIT = 300.0  # only ends a hung test


def of_home(home: Path) -> dict[int, str]:
    """Process id -> command line of every process whose environment names this home; zombies are no processes."""
    mark = b"KTD_HOME=" + os.fsencode(home)
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has just ended, or is somebody else's
            continue
    return found


def all_gone(home: Path) -> bool:
    """Whether all processes of a home end within the time limit."""
    limit = time.monotonic() + TIME_LIMIT
    while of_home(home):
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


def children(pid: int) -> dict[int, str]:
    """Process id -> command line of the processes that one has started."""
    found: dict[int, str] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found[int(child)] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
    return found
