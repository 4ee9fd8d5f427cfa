"""`stop`, `rm`, `cp`, `import` and `bench` as the daemon and the engine see them."""

from pathlib import Path

import pytest
from command_line import CommandLine
from fake_daemon import FakeDaemon, Reply

IMPORT = "POST /api/import"


def gguf(path: Path) -> Path:
    path.write_bytes(b"GGUF and more")
    return path


@pytest.fixture
def local_key(tmp_path: Path) -> None:
    (tmp_path / "local.key").write_text("the-key")


def test_stop(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies["POST /api/generate"] = Reply({"done": True, "done_reason": "unload"})
    assert ktd("stop", "demo").returncode == 0
    assert daemon.asked("POST /api/generate") == [{"model": "demo", "keep_alive": 0}]
    daemon.replies["POST /api/generate"] = Reply({"error": "model 'x' not found"}, status=404)
    assert ktd("stop", "x").stderr == 'Error: couldn\'t find model "x" to stop\n'


def test_rm_stops_at_the_first_error(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies["DELETE /api/delete"] = Reply()
    assert ktd("rm", "a", "b:7b").stdout == "deleted 'a'\ndeleted 'b:7b'\n"
    assert daemon.asked("DELETE /api/delete") == [{"model": "a"}, {"model": "b:7b"}]
    daemon.replies["DELETE /api/delete"] = Reply({"error": "model 'a' not found"}, status=404)
    ran = ktd("rm", "a", "b")
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "Error: model 'a' not found\n")


def test_cp(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies["POST /api/copy"] = Reply()
    assert ktd("cp", "a", "b").stdout == "copied 'a' to 'b'\n"
    assert daemon.asked("POST /api/copy") == [{"source": "a", "destination": "b"}]


@pytest.mark.usefixtures("local_key")
def test_import_sends_absolute_paths(ktd: CommandLine, daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.replies[IMPORT] = Reply(
        {"status": "hashing", "completed": 1, "total": 13},
        {"status": "success", "model": "r1:latest"},
    )
    file, config = gguf(tmp_path / "model.gguf"), tmp_path / "bundle"
    config.mkdir()
    ran = ktd("import", "model.gguf", "--name", "r1", "--config", "bundle", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "imported 'r1:latest'\n")
    assert daemon.asked(IMPORT) == [{"paths": [str(file)], "config": str(config), "name": "r1"}]


def test_what_is_not_there_is_told_before_the_daemon_is_asked(
    ktd: CommandLine, daemon: FakeDaemon, tmp_path: Path
) -> None:
    gguf(tmp_path / "model.gguf")
    for words, error in {
        ("none.gguf",): f"{tmp_path}/none.gguf is not there",
        ("/dev/zero",): "/dev/zero is no file and no folder",
        ("model.gguf", "--config", "none"): f"{tmp_path}/none is not there",
    }.items():
        ran = ktd("import", *words, cwd=tmp_path)
        assert (ran.returncode, ran.stderr) == (1, f"Error: {error}\n")
    assert daemon.requests == []


def test_import_needs_the_daemons_own_user(ktd: CommandLine, tmp_path: Path) -> None:
    ran = ktd("import", str(gguf(tmp_path / "model.gguf")))
    assert ran.returncode == 1
    assert f"cannot read {tmp_path}/local.key (No such file or directory)" in ran.stderr


@pytest.mark.usefixtures("local_key")
def test_an_import_that_fails_says_why(ktd: CommandLine, daemon: FakeDaemon, tmp_path: Path) -> None:
    file = str(gguf(tmp_path / "model.gguf"))
    daemon.replies[IMPORT] = Reply({"status": "reading"}, {"error": "model.gguf: tensor data is cut short"})
    assert ktd("import", file).stderr == "reading\nError: model.gguf: tensor data is cut short\n"
    daemon.replies[IMPORT] = Reply({"status": "reading"})
    assert ktd("import", file).stderr == "reading\nError: the daemon ended before it was done\n"


@pytest.mark.usefixtures("local_key")
def test_bench_refuses_an_unknown_model(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies["GET /api/files"] = Reply({"error": "model 'x' not found"}, status=404)
    ran = ktd("bench", "x")
    assert (ran.returncode, ran.stderr) == (1, "Error: model 'x' not found\n")
    assert daemon.asked("GET /api/files") == [{"model": "x"}]


def test_bench_refuses_what_is_no_model(ktd: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("hello")
    ran = ktd("bench", str(tmp_path / "text.gguf"))
    assert ran.returncode == 1
    assert "text.gguf" in ran.stderr and "Traceback" not in ran.stderr


def test_show_names_a_missing_model_as_it_was_typed(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies["POST /api/show"] = Reply({"error": "model 'nope:latest' not found"}, status=404)
    ran = ktd("show", "nope")
    assert (ran.returncode, ran.stderr) == (1, "Error: model 'nope' not found\n")
