"""The registry in PostgreSQL, on machines that have Debian's packages of it (and psycopg)."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from ktd.registry.errors import ModelNotFound
from ktd.registry.names import ModelName
from ktd.registry.pulls.journal import Request
from ktd.registry.sources.hub import HubFile, Listing
from ktd.registry.store import Registry
from ktd.registry.tables import Base

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A cluster of its own, behind a socket in a folder; PostgreSQL will not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="ktd-pg-"))
    user = None
    if os.geteuid() == 0:
        user = "postgres"
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    binaries, data = BINARIES[-1].parent, folder / "data"
    quiet = {"user": user, "check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
    subprocess.run([binaries / "initdb", "-D", data, "-U", "ktd", "-A", "trust", "-N"], **quiet)
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    subprocess.run([binaries / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start"], **quiet)
    yield f"postgresql+psycopg://ktd@/postgres?host={folder}"
    subprocess.run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **quiet)
    shutil.rmtree(folder)


if BINARIES and importlib.util.find_spec("psycopg"):

    def test_a_registry_in_postgresql(url, home, weights):
        with Registry.open(home, url) as registry:
            record = registry.import_files([weights], "mine", None)
            registry.copy("mine", "two")
            registry.delete("mine")
            assert [str(one.name) for one in registry.list()] == ["two:latest"]
            with pytest.raises(ModelNotFound):
                registry.find("mine")
            name, file = ModelName.parse("ns/repo:q"), HubFile("a.gguf", 5_000_000_000, "a" * 64)
            registry.journal.begin(Request(name))
            registry.journal.plan(name, "huggingface", Listing("ns/repo", "main", (file,)), [file])
            registry.journal.arrived("huggingface", Listing("ns/repo", "main", (file,)), file, b"1234")
        with Registry.open(home, url) as registry:
            assert registry.present("two").digest == record.digest
            [unfinished] = registry.journal.unfinished()
            assert (unfinished.total, unfinished.state) == (5_000_000_000, "running")
            assert registry.journal.origins(f"sha256:{'a' * 64}")[0].checksums == b"1234"
        assert not (home / "registry.db").exists()

    def test_its_tables_are_todays(url, home):
        Registry.open(home, url).close()
        engine = create_engine(url)
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        engine.dispose()
