import sqlite3
from pathlib import Path

from ktd.registry.memo import Memo
from ktd.registry.store import Registry


def test_what_was_read_is_read_again_when_the_version_changes() -> None:
    version: list[int | None] = [1]
    read = iter(range(9)).__next__
    memo = Memo(lambda: version[0])
    assert [memo.known("a"), memo.recall("a", read), memo.recall("a", read), memo.recall("b", read)] == [None, 0, 0, 1]
    version[0] = 2
    assert [memo.known("a"), memo.recall("a", read), memo.known("a")] == [None, 2, 2]
    version[0] = None
    assert [memo.recall("a", read), memo.recall("a", read), memo.known("a")] == [3, 4, None]


def test_what_is_read_while_the_version_changes_is_not_kept() -> None:
    version = [1]
    memo = Memo(lambda: version[0])

    def read() -> str:
        version[0] = 2
        memo.recall("other", lambda: "new")
        return "old"

    assert memo.recall("a", read) == "old"
    assert memo.known("a") is None


def test_changes_of_this_and_of_other_processes_are_seen(home: Path) -> None:
    with Registry.open(home) as registry:
        assert registry.listed() is None
        assert registry.list() == [] == registry.listed()
        demo = registry.ensure_demo()
        assert demo is not None and registry.listed() is None
        assert registry.list() == [demo] == registry.listed()
        assert registry.present("demo") == demo == registry.present("demo")
        other = sqlite3.connect(home / "registry.db")
        with other:
            other.execute("UPDATE models SET system = 'Be brief.'")
        other.close()
        assert registry.listed() is None
        assert registry.present("demo").system == "Be brief."
