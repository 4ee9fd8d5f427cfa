"""kill -9 while models are imported or fetched: afterwards a model is there whole, or not at all."""

import hashlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gguf_writer import write_shards

from ktd.registry.pulls.stage import Stage
from ktd.registry.store import Registry

IMPORT = """
import sys, time
from pathlib import Path
from ktd.registry.store import Registry

def progress(done, total):
    if done:
        print("reading", flush=True)
        time.sleep(60)

with Registry.open(Path(sys.argv[1])) as registry:
    registry.import_files([Path(sys.argv[2])], name="r1", progress=progress)
"""

CHURN = """
import itertools, os, sys
from pathlib import Path
from ktd.registry.store import Registry

shard = Path(sys.argv[2])
with Registry.open(Path(sys.argv[1])) as registry:
    print("open", flush=True)
    for number in itertools.count():
        os.utime(shard)
        registry.import_files([shard], name="r1")
        registry.copy("r1", f"copy:{number % 3}")
        registry.delete("r1" if number % 2 else f"copy:{number % 3}")
"""


STAGE = """
import os, signal, sys
from pathlib import Path
from ktd.registry.pulls.stage import Stage

home, action, digest, size, steps = *sys.argv[1:4], *map(int, sys.argv[4:])
stage, done = Stage(Path(home)), 0

def watch(event, arguments):
    global done
    if event in ("os.remove", "os.rename"):
        if done == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1

with stage.open(digest, size) as partial:
    sys.addaudithook(watch)
    if action == "move":
        partial.move(Path(home) / "blob")
    else:
        stage.discard(digest)
"""


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that has said its first line."""
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline()
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()


def test_while_files_are_read(home, tmp_path):
    shards = write_shards(tmp_path / "models", 3)
    killed(started(IMPORT, home, shards[0]))
    with Registry.open(home) as registry:
        assert registry.list() == []
        registry.import_files([shards[0]], name="r1")
        assert registry.present("r1").files == tuple(shards)


def test_while_rows_are_written(home, tmp_path):
    shards = write_shards(tmp_path / "models", 3)
    choose = random.Random(1)
    for _ in range(6):
        process = started(CHURN, home, shards[0])
        time.sleep(choose.uniform(0.01, 0.25))  # anywhere in the loop, which takes some milliseconds
        killed(process)
        with Registry.open(home) as registry:
            for record in registry.list():
                assert record.files == tuple(shards)
                assert registry.find(record.name) == record
            registry.import_files(shards, name="r1")
            registry.present("r1")
        connection = sqlite3.connect(home / "registry.db")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        orphans = "SELECT * FROM blobs WHERE id NOT IN (SELECT blob_id FROM model_files)"
        assert connection.execute(orphans).fetchall() == []
        connection.close()


def killed_at(home: Path, action: str, data: bytes, steps: int) -> None:
    """A process that dies in a stage, after so many changes of names there."""
    digest = hashlib.sha256(data).hexdigest()
    Stage(home).keep(digest, len(data), data)
    command = [sys.executable, "-P", "-c", STAGE, str(home), action, digest, str(len(data)), str(steps)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("steps", [0, 1])
def test_while_a_fetched_file_takes_its_place(home, steps):
    """It is in its place, or else still on its way with all its bytes; never counted twice."""
    data = bytes(300_000)
    killed_at(home, "move", data, steps)
    moved = (home / "blob").exists()
    assert Stage(home).received(hashlib.sha256(data).hexdigest(), len(data)) == (0 if moved else len(data))
    assert not moved or (home / "blob").read_bytes() == data


@pytest.mark.parametrize("steps", [0, 1])
def test_while_a_file_on_its_way_is_discarded(home, steps):
    """No notes are left about bytes that are gone."""
    killed_at(home, "discard", bytes(300_000), steps)
    left = {path.suffix for path in (home / "downloads").iterdir()}
    assert left == ({".part"} if steps else {".blocks", ".part"})
