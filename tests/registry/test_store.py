"""The registry's own promises."""

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from gguf_writer import STRING, small_model, write_shards
from sqlalchemy import Engine, event

from ktd.registry.errors import FileChanged, FileGone, InvalidName, ModelBroken, ModelNotFound
from ktd.registry.names import ModelName
from ktd.registry.store import Registry
from ktd.registry.upload import Upload


def names(registry) -> list[str]:
    return [str(record.name) for record in registry.list()]


def rows(home, table) -> list[tuple]:
    with sqlite3.connect(home / "registry.db") as connection:
        found = connection.execute(f"SELECT * FROM {table}").fetchall()
    connection.close()
    return found


def test_import_and_find(registry, weights, home):
    before = datetime.now(UTC)
    record = registry.import_files([weights])
    assert str(record.name) == "Small-Q8_0:latest"
    assert record.files == (weights,)
    assert record.size == weights.stat().st_size
    assert before <= record.modified_at <= datetime.now(UTC)
    assert record.modified_at.utcoffset() == timedelta(0)
    assert len(record.digest) == 64 and set(record.digest) <= set("0123456789abcdef")
    assert (record.template, record.system, record.license, record.bundle) == (None, None, None, None)
    assert record.capabilities == ("completion",)
    assert registry.find("small-q8_0") == record
    assert registry.find(ModelName.parse("SMALL-Q8_0:LATEST")) == record
    assert registry.list() == [record]
    ((_, digest, path, size, _),) = rows(home, "blobs")
    assert digest == "sha256:" + sha256(weights.read_bytes()).hexdigest()
    assert (path, size) == (str(weights), record.size)


def test_unknown_and_bad_names(registry):
    for call in (registry.find, registry.present, registry.header, registry.delete):
        with pytest.raises(ModelNotFound, match="model 'foo:latest' not found"):
            call("foo")
        with pytest.raises(InvalidName):
            call("foo bar")


def test_records_outlive_the_process(home, weights):
    with Registry.open(home) as first:
        record = first.import_files([weights], name="me/Small:Q8_0")
    with Registry.open(home) as second:
        assert second.list() == [record]


def test_newest_first(registry, weights):
    for name in ("a", "b", "c"):
        registry.import_files([weights], name=name)
    assert names(registry) == ["c:latest", "b:latest", "a:latest"]
    registry.copy("a", "d")
    assert names(registry) == ["d:latest", "c:latest", "b:latest", "a:latest"]


def test_equal_models_have_equal_digests(registry, weights, tmp_path):
    twin = tmp_path / "twin.gguf"
    twin.write_bytes(weights.read_bytes())
    other = small_model().key("general.license", STRING, "mit").write(tmp_path / "other.gguf")
    one, two, three = (registry.import_files([path]) for path in (weights, twin, other))
    assert one.digest == two.digest != three.digest
    assert three.license == "mit"
    assert (registry.find("twin").files, registry.find(one.name).files) == ((twin,), (weights,))


def test_importing_again_replaces(registry, weights, tmp_path, home):
    registry.import_files([weights], name="Me/Model:X")
    other = small_model().key("general.license", STRING, "mit").write(tmp_path / "other.gguf")
    record = registry.import_files([other], name="ME/MODEL:x")
    assert str(record.name) == "Me/Model:X"
    assert registry.list() == [record]
    assert [row[2] for row in rows(home, "blobs")] == [str(other)]
    assert weights.exists()


def test_known_files_are_not_read_again(registry, weights):
    registry.import_files([weights], name="one")
    seen = []
    registry.import_files([weights], name="two", progress=lambda *step: seen.append(step), cancelled=lambda: True)
    assert seen[-1] == (weights.stat().st_size,) * 2


def test_delete_leaves_the_users_file(registry, weights, home):
    registry.import_files([weights], name="one")
    registry.copy("one", "two")
    registry.delete("ONE")
    assert names(registry) == ["two:latest"]
    assert registry.present("two").files == (weights,)
    registry.delete("two")
    assert weights.exists()
    assert not any(rows(home, table) for table in ("models", "model_files", "blobs", "bundles"))


def test_delete_frees_what_the_store_owns(registry, weights, home):
    """As a pulled model will be: its blob is a file of the store."""
    with Upload(registry.blobs, f"sha256:{sha256(weights.read_bytes()).hexdigest()}") as upload:
        upload.write(weights.read_bytes())
        stored = upload.finish()
    registry.import_files([weights], name="one")
    with sqlite3.connect(home / "registry.db") as connection:
        connection.execute("UPDATE blobs SET path = '', mtime_ns = ?", (stored.stat().st_mtime_ns,))
    connection.close()
    assert registry.present("one").files == (stored,)
    registry.copy("one", "two")
    registry.delete("one")
    assert registry.present("two").files == (stored,)
    registry.delete("two")
    assert not stored.exists() and weights.exists()


def test_copy(registry, weights):
    source = registry.import_files([weights], name="one")
    copy = registry.copy("one", "me/two:x")
    assert (str(copy.name), copy.digest, copy.files) == ("me/two:x", source.digest, source.files)
    assert copy.modified_at >= source.modified_at
    assert registry.copy("one", "ONE").name == source.name
    registry.copy("me/two:x", "one")
    assert sorted(names(registry)) == ["me/two:x", "one:latest"]
    with pytest.raises(ModelNotFound, match="model 'absent:latest' not found"):
        registry.copy("absent", "three")
    with pytest.raises(InvalidName):
        registry.copy("one", "a/b/c/d")


def test_file_gone(registry, weights):
    registry.import_files([weights], name="one")
    weights.unlink()
    assert registry.find("one").files == (weights,)
    with pytest.raises(FileGone, match=r"Small-Q8_0\.gguf cannot be read any more \(No such file or directory\)"):
        registry.present("one")


def test_file_changed(registry, weights):
    registry.import_files([weights], name="one")
    status = weights.stat()
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(FileChanged, match=r"Small-Q8_0\.gguf has changed since it was imported \(it was written to\)"):
        registry.present("one")
    with weights.open("ab") as file:
        file.write(b"!")
    with pytest.raises(FileChanged, match=rf"it has {status.st_size + 1} bytes instead of {status.st_size}"):
        registry.present("one")
    registry.import_files([weights], name="one")
    assert registry.present("one").size == status.st_size + 1


def test_one_changed_shard_is_named(registry, tmp_path):
    shards = write_shards(tmp_path, 3)
    registry.import_files(shards, name="r1")
    shards[1].unlink()
    with pytest.raises(FileGone, match=r"model-00002-of-00003\.gguf"):
        registry.present("r1")


def test_moved_files_are_found_again_for_all_names(registry, weights, tmp_path):
    registry.import_files([weights], name="one")
    registry.copy("one", "two")
    moved = weights.rename(tmp_path / "moved.gguf")
    registry.import_files([moved], name="one")
    assert registry.present("two").files == (moved,)


def test_touched_file_is_accepted_after_import(registry, weights):
    registry.import_files([weights], name="one")
    registry.copy("one", "two")
    os.utime(weights)
    registry.import_files([weights], name="one")
    assert registry.present("two").files == (weights,)


def test_header(registry, weights):
    registry.import_files([weights], name="one")
    with registry.header("one") as gguf:
        assert gguf.metadata.text("general.name") == "small"
        assert next(iter(gguf.tensors)) == "token_embd.weight"


def test_header_damaged_behind_our_back(registry, weights):
    registry.import_files([weights], name="one")
    status = weights.stat()
    with weights.open("r+b") as file:
        file.write(b"XXXX")
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ModelBroken, match="is not a GGUF file"):
        registry.header("one")


def test_many_threads(registry, weights):
    def work(number: int) -> None:
        name = f"m{number}"
        registry.import_files([weights], name=name)
        registry.copy(name, f"{name}:copy")
        assert registry.present(name).files == (weights,)
        registry.list()
        registry.delete(name)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(48)))
    assert sorted(names(registry)) == sorted(f"m{number}:copy" for number in range(48))


def test_a_list_asks_the_database_as_often_for_many_as_for_one(registry, weights):
    asked: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:
        asked.append(statement)

    counts = set()
    for number in range(3):
        registry.import_files([weights], name=f"m{number}")
        event.listen(Engine, "before_cursor_execute", note)
        try:
            assert len(registry.list()) == number + 1
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        counts.add(len(asked))
        asked.clear()
    assert len(counts) == 1
