"""A disk that really fills up: a small tmpfs, where the kernel lets us mount one.

Elsewhere a limit on file sizes stands in for it, in test_pulls.py.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from fake_hub import FakeHub
from pulling import big

SUPPORT = Path(__file__).parents[1] / "support"
APART = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def may_mount() -> bool:
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    trial = [*APART, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", SUPPORT]
    return subprocess.run(trial, capture_output=True).returncode == 0


if may_mount():

    def test_nothing_is_lost_and_the_next_pull_goes_on(tmp_path):
        with FakeHub() as hub:
            hub.repos["ns/Big-GGUF"] = repo = big(mib=24)
            hub.pace = 0.002
            environ = os.environ | {"PYTHONPATH": str(SUPPORT)}
            command = [*APART, sys.executable, "-P", SUPPORT / "full_disk.py", hub.url, tmp_path / "home"]
            ran = subprocess.run(command, env=environ, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        size, *gaps = map(int, ran.stdout.split())
        (data,) = repo.files.values()
        assert size == len(data)
        starts = {int(asked.range[6:].split("-")[0]) for asked in hub.fetched(".gguf")}
        assert 0 not in gaps and starts.issuperset(gaps)  # the second pull went on from what the first had kept
