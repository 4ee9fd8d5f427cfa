from pathlib import Path

import pytest

from ktd.engine.memory import available_memory

GIB = 1 << 30


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "proc"
    (folder / "self").mkdir(parents=True)
    (folder / "meminfo").write_text(f"MemTotal: {64 << 20} kB\nMemAvailable:   {32 << 20} kB\nHugePages_Total: 0\n")
    (folder / "self/cgroup").write_text("")
    return folder


def version2(folder: Path, limit: str, used: int, cached: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\nactive_file 1\nslab 7\n")


def test_the_real_machine_has_some() -> None:
    assert available_memory() > 0


def test_without_groups_it_is_what_the_machine_has(proc: Path, tmp_path: Path) -> None:
    assert available_memory(proc, tmp_path / "none") == 32 * GIB


def test_the_tightest_group_counts_and_its_file_cache_is_free(proc: Path, tmp_path: Path) -> None:
    (proc / "self/cgroup").write_text("0::/a/b\n")
    root = tmp_path / "cgroup"
    version2(root / "a/b", "max", 9 * GIB, 0)
    version2(root / "a", str(8 * GIB), 7 * GIB, 2 * GIB)
    assert available_memory(proc, root) == 3 * GIB + 1
    version2(root / "a/b", str(GIB), 2 * GIB, 0)
    assert available_memory(proc, root) == 0


def test_a_container_sees_its_own_group_as_the_root(proc: Path, tmp_path: Path) -> None:
    (proc / "self/cgroup").write_text("0::/\n")
    version2(tmp_path / "cgroup", str(4 * GIB), GIB, 0)
    assert available_memory(proc, tmp_path / "cgroup") == 3 * GIB + 1


def test_version_1(proc: Path, tmp_path: Path) -> None:
    (proc / "self/cgroup").write_text("12:cpu,cpuacct:/x\n4:memory:/x\n1:name=systemd:/x\n")
    folder = tmp_path / "cgroup/memory/x"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(str(4 * GIB))
    (folder / "memory.usage_in_bytes").write_text(str(3 * GIB))
    (folder / "memory.stat").write_text(f"total_inactive_file {GIB}\ntotal_active_file 0\n")
    assert available_memory(proc, tmp_path / "cgroup") == 2 * GIB
