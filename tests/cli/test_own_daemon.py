"""Real daemons: the one `ktd serve` runs, and the one a command has for itself."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import processes
import pytest
from command_line import KTD, CommandLine
from terminal import Terminal

from ktd.registry.demo import demo_folder

QUESTION = "What is 12 + 30?"
STARTED = "no daemon at {url}: started one for this command; `ktd serve` keeps one running\n"


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line where no daemon runs; whatever a test starts is gone after it."""
    yield CommandLine(tmp_path, free_address())
    assert processes.all_gone(tmp_path)


@pytest.fixture
def served(alone: CommandLine) -> Iterator[CommandLine]:
    """The command line beside a `ktd serve`."""
    daemon = alone.start("serve")
    assert daemon.stdout is not None
    assert any("listens on http://" in line for line in daemon.stdout)  # settings that were given come before
    yield alone
    daemon.terminate()
    _, errors = daemon.communicate()
    assert (daemon.returncode, errors) == (0, "")


def test_a_command_has_a_daemon_for_itself_and_says_so(alone: CommandLine, tmp_path: Path) -> None:
    ran = alone("list", "--json")
    assert (ran.returncode, ran.stderr) == (0, STARTED.format(url="http://" + alone.env["KTD_HOST"]))
    assert [model["name"] for model in json.loads(ran.stdout)] == ["demo:latest"]
    assert processes.of_home(tmp_path) == {}
    assert "listens on" in (tmp_path / "daemon.log").read_text()


def test_the_demo_thinks_and_answers(alone: CommandLine, tmp_path: Path) -> None:
    ran = alone("run", "demo", "--verbose", QUESTION)
    assert ran.returncode == 0, ran.stderr
    shown = re.fullmatch(r"Thinking\.\.\.\n(.+)\n\.\.\.done thinking\.\n\n(.+)\n", ran.stdout, re.DOTALL)
    assert shown and shown[1].strip() and "42" in shown[2]
    assert re.search(r"eval count: +[1-9]\d* token\(s\)", ran.stderr)
    assert processes.of_home(tmp_path) == {}


def test_kill_9_of_the_command_ends_its_daemon_and_worker(alone: CommandLine, tmp_path: Path) -> None:
    with Terminal([*KTD, "run", "demo"], alone.env) as terminal:
        terminal.wait_for("Send a message")
        family = processes.of_home(tmp_path)
        assert len(family) >= 3, family  # command, daemon, worker
        terminal.process.kill()
        assert processes.all_gone(tmp_path)


def test_ctrl_c_ends_the_daemon_too(alone: CommandLine, tmp_path: Path) -> None:
    running = alone.start("run", "demo", "Count from 1 to 200.")
    assert running.stdout is not None
    assert running.stdout.read(1)
    running.send_signal(signal.SIGINT)
    running.communicate()
    assert running.returncode == 130
    assert processes.of_home(tmp_path) == {}


def test_a_daemon_that_cannot_start_says_why(alone: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_text("this is no database, and long enough to show it" * 100)
    ran = alone("list")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: a daemon could not be started:\nktd: ")
    alone.env["KTD_HOME"] = str(tmp_path / "registry.db" / "home")
    assert "Error: cannot start a daemon with " in alone("list").stderr


def test_a_daemon_that_runs_is_used(served: CommandLine, tmp_path: Path) -> None:
    ran = served("run", "demo", "--keepalive", "1h", "--think=false", QUESTION)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "42" in ran.stdout and "Thinking" not in ran.stdout
    assert not (tmp_path / "daemon.log").exists()
    (loaded,) = json.loads(served("ps", "--json").stdout)
    assert loaded["name"] == "demo:latest" and loaded["context_length"] > 0
    assert "About an hour from now" in served("ps").stdout or "59 minutes from now" in served("ps").stdout
    assert served("stop", "demo").returncode == 0
    assert served("ps").stdout.count("\n") == 1


def test_models_are_copied_removed_and_brought_back(served: CommandLine) -> None:
    assert served("cp", "demo", "mine").stdout == "copied 'demo' to 'mine'\n"
    assert served("rm", "demo").stdout == "deleted 'demo'\n"
    assert [model["name"] for model in json.loads(served("list", "--json").stdout)] == ["mine:latest"]
    ran = served("run", "demo", QUESTION)
    assert (ran.returncode, "42" in ran.stdout) == (0, True)
    assert "the demo model had been removed: it is back" in ran.stderr
    assert "demo:latest" in served("list").stdout
    ran = served("rm", "none")
    assert (ran.returncode, ran.stderr) == (1, "Error: model 'none' not found\n")


def test_a_gguf_file_is_imported_in_place_and_runs(served: CommandLine, tmp_path: Path) -> None:
    (source,) = demo_folder().glob("*.gguf")
    copy = tmp_path / "models" / "tiny.gguf"
    copy.parent.mkdir()
    copy.write_bytes(source.read_bytes())
    assert served("import", str(copy)).stdout == "imported 'tiny:latest'\n"
    assert "42" in served("run", "tiny", QUESTION).stdout
    copy.write_bytes(source.read_bytes()[:1000])
    ran = served("import", str(copy), "--name", "short")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: ")


def test_bench_measures_a_model_by_name_or_file(alone: CommandLine) -> None:
    few = ("--prompt", "16", "--generate", "4", "--repeat", "1")
    ran = alone("bench", "demo", "--json", *few)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert [test["name"] for test in report["tests"]] == ["pp16", "tg4"]
    assert all(test["tokens_per_second"] > 0 for test in report["tests"])
    (file,) = demo_folder().glob("*.gguf")
    ran = alone("bench", str(file), "--threads", "1", *few)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "pp16" in ran.stdout and "tg4" in ran.stdout


def test_a_wrong_setting_is_told(alone: CommandLine) -> None:
    ran = alone("serve", "--keep-alive", "soon")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: --keep-alive=soon: ")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = alone("serve", "--host", f"127.0.0.1:{taken.getsockname()[1]}")
    assert ran.returncode == 1
    assert "cannot listen on 127.0.0.1 port" in ran.stderr


def test_serve_ends_with_its_stdin(alone: CommandLine) -> None:
    daemon = subprocess.Popen(
        [*KTD, "serve", "--until-stdin-closes"], env=alone.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert daemon.stdout is not None
    assert any("listens on" in line for line in daemon.stdout)
    daemon.communicate()
    assert daemon.returncode == 0
