"""kill -9 while models are imported: afterwards a model is there whole, or not at all."""

import random
import signal
import sqlite3
import subprocess
import sys
import time

from gguf_writer import write_shards

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
