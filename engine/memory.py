"""How much memory this process may still take: the machine's, and that of the control groups it is in."""

from collections.abc import Iterator
from pathlib import Path


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes; what only caches files counts as available, on the machine and in its groups alike."""
    return min([_machine(proc), *_groups(proc, cgroups)])


def _machine(proc: Path) -> int:
    return _table(proc / "meminfo")["MemAvailable:"] * 1024


def _groups(proc: Path, cgroups: Path) -> Iterator[int]:
    """What is left under the limit of each memory control group, of version 2 or 1, up to the root."""
    for line in (proc / "self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            names = ("memory.max", "memory.current", ("inactive_file", "active_file"))
            yield from _left(cgroups, path, *names)
        elif "memory" in controllers.split(","):
            files = ("total_inactive_file", "total_active_file")
            yield from _left(cgroups / "memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes", files)


def _left(root: Path, path: str, limit: str, used: str, files: tuple[str, str]) -> Iterator[int]:
    group = root / path.lstrip("/")
    for folder in (group, *group.parents):
        if folder.is_relative_to(root) and (folder / limit).is_file():
            most = (folder / limit).read_text().strip()
            if most != "max":
                stat = _table(folder / "memory.stat")
                cached = sum(stat.get(name, 0) for name in files)
                yield max(0, int(most) - int((folder / used).read_text()) + cached)


def _table(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    rows = (line.split() for line in path.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1}
