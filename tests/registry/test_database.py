"""The database: its tables, its upgrades, and several processes at once."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from ktd.registry import migrations
from ktd.registry.database import Database
from ktd.registry.errors import DatabaseError
from ktd.registry.store import Registry
from ktd.registry.tables import Base


def execute(home: Path, statement: str) -> list[tuple]:
    connection = sqlite3.connect(home / "registry.db")
    with connection:
        found = connection.execute(statement).fetchall()
    connection.close()
    return found


def test_migrations_lead_to_the_tables(home):
    Registry.open(home).close()
    engine = create_engine(f"sqlite:///{home / 'registry.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_heads() == [migrations.HEAD]


FIRST_RELEASE = """
INSERT INTO bundles (id, path, files) VALUES (1, '/models/config', '{"config.json": "00"}');
INSERT INTO models (id, key, host, namespace, model, tag, digest, size, modified_at, details, capabilities, parameters,
  bundle_id, template) VALUES (1, 'registry.ollama.ai/library/old:latest', 'registry.ollama.ai', 'library', 'old',
  'latest', 'aa', 7, '2025-01-02 03:04:05.000000', '{"family": "deepseek2", "parameter_count": 1,
  "parameter_size": "1", "quantization_level": "Q8_0", "context_length": null, "embedding_length": null,
  "format": "gguf", "parent_model": "", "families": ["deepseek2"]}', '["completion"]', '{"top_k": 7}', 1, 'T');
INSERT INTO blobs (id, digest, path, size, mtime_ns) VALUES (1, 'sha256:bb', '/models/old.gguf', 7, 1);
INSERT INTO model_files (model_id, role, ordinal, blob_id) VALUES (1, 'weights', 0, 1);
INSERT INTO marks (key, value) VALUES ('demo', 'aa');
"""


SECOND_RELEASE = """
INSERT INTO pulls (id, key, name, request, state, created_at, updated_at) VALUES (1, 'registry.ollama.ai/ns/repo:q',
  'registry.ollama.ai/ns/repo:q', '{"source": null, "revision": null, "include": [], "exclude": []}', 'running',
  '2025-01-02 03:04:05.000000', '2025-01-02 03:04:05.000000');
INSERT INTO downloads (id, key, source, repo, revision, file, digest, size, received, state, created_at, updated_at)
  VALUES (1, 'registry.ollama.ai/ns/repo:q', 'huggingface', 'ns/repo', 'main', 'a.gguf', 'sha256:cc', 9, 3, 'wanted',
  '2025-01-02 03:04:05.000000', '2025-01-02 03:04:05.000000');
"""


@pytest.mark.parametrize(
    ("revision", "contents", "pulls"),
    [("0001", FIRST_RELEASE, []), ("0002", FIRST_RELEASE + SECOND_RELEASE, [("ns/repo:q", 9)])],
)
def test_a_database_of_each_older_form_is_brought_to_todays(home, revision, contents, pulls):
    home.mkdir()
    engine = create_engine(f"sqlite:///{home / 'registry.db'}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        command.upgrade(config, revision)
        for statement in contents.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    engine.dispose()
    with Registry.open(home) as registry:
        [record] = registry.list()
        assert (str(record.name), record.parameters, record.messages) == ("old:latest", {"top_k": 7}, ())
        assert (record.files, record.bundle) == ((Path("/models/old.gguf"),), Path("/models/config"))
        assert [(str(one.request.name), one.total) for one in registry.journal.unfinished()] == pulls
    assert execute(home, "SELECT value FROM marks") == [("aa",)]
    test_migrations_lead_to_the_tables(home)


def test_pragmas(home):
    Registry.open(home).close()
    database = Database(home)
    with database.read() as session:
        connection = session.connection()
        for pragma, value in {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30000}.items():
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    database.close()


def test_a_failed_upgrade_changes_nothing(home):
    """Tables are made in one transaction: here the last one cannot be, because its name is taken."""
    home.mkdir()
    execute(home, "CREATE TABLE marks (x)")
    with pytest.raises(DatabaseError, match=r"registry\.db.*table marks already exists"):
        Registry.open(home)
    assert execute(home, "SELECT name FROM sqlite_master WHERE type = 'table'") == [("marks",)]
    execute(home, "DROP TABLE marks")
    Registry.open(home).close()


def test_a_newer_database_is_left_alone(home):
    Registry.open(home).close()
    execute(home, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match=r"registry\.db was written by a newer ktd"):
        Registry.open(home)


def test_what_is_no_database(home):
    home.mkdir()
    (home / "registry.db").write_bytes(b"not a database, but as long as a header of one would be" * 40)
    with pytest.raises(DatabaseError, match="file is not a database"):
        Registry.open(home)


def test_what_is_no_home(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="file cannot be used as a home"):
        Registry.open(tmp_path / "file")
    with pytest.raises(DatabaseError, match="home cannot be used as a home: Not a directory"):
        Registry.open(tmp_path / "file" / "home")


def test_a_database_elsewhere(home, tmp_path, weights):
    url = f"sqlite:///{tmp_path / 'elsewhere 100%.db'}"
    with Registry.open(home, url) as registry:
        record = registry.import_files([weights])
    assert not (home / "registry.db").exists()
    with Registry.open(home, url) as registry:
        assert registry.list() == [record]


@pytest.mark.parametrize("url", ["nonsense", "nosuch://user:secret@host/name", "postgresql+nosuch://u:secret@h/n"])
def test_a_bad_url_is_refused_without_its_password(home, url):
    with pytest.raises(DatabaseError, match="KTD_DATABASE_URL") as caught:
        Registry.open(home, url)
    assert "secret" not in str(caught.value)


def test_a_home_with_odd_characters(tmp_path, weights):
    with Registry.open(tmp_path / "a %s ? # ü") as registry:
        assert registry.import_files([weights]) in registry.list()


FIRST_START = """
import sys
from pathlib import Path
from ktd.registry.store import Registry

home, weights, number = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
sys.stdin.readline()
with Registry.open(home) as registry:
    registry.ensure_demo()
    registry.import_files([weights], name=f"model:{number}")
    registry.copy(f"model:{number}", f"copy:{number}")
    registry.present(f"copy:{number}")
    registry.delete(f"model:{number}")
"""


def test_processes_that_start_at_once(home, weights):
    command = [sys.executable, "-P", "-c", FIRST_START, str(home), str(weights)]
    processes = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in processes]
    assert errors == [""] * 4
    with Registry.open(home) as registry:
        names = sorted(str(record.name) for record in registry.list())
        assert names == [*(f"copy:{number}" for number in range(4)), "demo:latest"]
        for name in names:
            registry.present(name)
    assert execute(home, "PRAGMA integrity_check") == [("ok",)]
    assert execute(home, "PRAGMA foreign_key_check") == []
