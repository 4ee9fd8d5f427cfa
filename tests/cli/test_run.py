"""`ktd run` with a prompt: what goes to the daemon, and what comes out."""

import signal
import subprocess
from pathlib import Path

import pytest
from command_line import KTD, CommandLine
from fake_daemon import FakeDaemon, Reply, spoken

CHAT = "POST /api/chat"


def test_thinking_stands_between_its_two_lines(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply(*spoken("It is ", "42.", thinking=("\n12 + 30", " = 42")))
    ran = ktd("run", "demo", "What is 12 + 30?")
    assert ran.stdout == "Thinking...\n12 + 30 = 42\n...done thinking.\n\nIt is 42.\n"
    assert (ran.returncode, ran.stderr) == (0, "")
    (asked,) = daemon.asked(CHAT)
    assert asked["messages"] == [{"role": "user", "content": "What is 12 + 30?"}]
    assert "think" not in asked and "keep_alive" not in asked


def test_thinking_can_be_hidden(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply(*spoken("42", thinking=("12 + 30",)))
    assert ktd("run", "demo", "--hidethinking", "?").stdout == "42\n"


@pytest.mark.parametrize(
    ("flag", "sent"), [("--think", True), ("--think=true", True), ("--think=false", False), ("--think=low", "low")]
)
def test_think_is_passed_on_and_does_not_eat_the_prompt(
    ktd: CommandLine, daemon: FakeDaemon, flag: str, sent: object
) -> None:
    daemon.replies[CHAT] = Reply(*spoken("42"))
    assert ktd("run", "demo", flag, "Why?").returncode == 0
    (asked,) = daemon.asked(CHAT)
    assert asked["think"] == sent
    assert asked["messages"][0]["content"] == "Why?"


def test_standard_input_comes_before_the_prompt(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply(*spoken("42"))
    ktd("run", "demo", "--keepalive", "10m", "Sum", "this up", stdin="one\ntwo\n")
    (asked,) = daemon.asked(CHAT)
    assert asked["messages"][0]["content"] == "one\ntwo\nSum this up"
    assert asked["keep_alive"] == "10m"


def test_bytes_that_are_no_text_are_replaced(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply(*spoken("四十二"))
    ktd.env |= {"PYTHONIOENCODING": "latin-1"}
    ran = subprocess.run([*KTD, "run", "demo"], input=b"caf\xe9", env=ktd.env, capture_output=True)
    assert (ran.returncode, ran.stdout) == (0, b"???\n")
    assert daemon.asked(CHAT)[0]["messages"][0]["content"] == "caf\N{REPLACEMENT CHARACTER}"


def test_without_a_prompt_the_model_is_loaded(ktd: CommandLine, daemon: FakeDaemon) -> None:
    ran = ktd("run", "demo")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert daemon.asked(CHAT)[0]["messages"] == []


def test_verbose_ends_with_the_timings(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply(*spoken("42"))
    ran = ktd("run", "demo", "--verbose", "?")
    assert ran.stdout == "42\n"
    assert ran.stderr.strip().splitlines() == [
        "total duration:       2.500s",
        "load duration:        85.1ms",
        "prompt eval count:    11 token(s)",
        "prompt eval duration: 500.0ms",
        "prompt eval rate:     22.00 tokens/s",
        "eval count:           30 token(s)",
        "eval duration:        1.500s",
        "eval rate:            20.00 tokens/s",
    ]


def test_an_unknown_model_is_refused_with_what_helps(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies["POST /api/show"] = Reply({"error": "model 'r1' not found"}, status=404)
    ran = ktd("run", "r1", "?")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: model 'r1' not found; `ktd list`")
    assert not daemon.asked(CHAT)


def test_a_removed_demo_is_made_again(ktd: CommandLine, daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "local.key").write_text("the-key\n")
    daemon.replies["POST /api/show"] = Reply({"error": "model 'demo' not found"}, status=404)
    daemon.replies["POST /api/import"] = Reply({"status": "hashing"}, {"status": "success", "model": "demo:latest"})
    daemon.replies[CHAT] = Reply(*spoken("42"))
    ran = ktd("run", "demo", "?")
    assert (ran.returncode, ran.stdout) == (0, "42\n")
    assert daemon.asked("POST /api/import") == [{"demo": True}]
    assert [headers["X-Ktd-Local-Key"] for headers in daemon.headers if "X-Ktd-Local-Key" in headers] == ["the-key"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply({"error": "server busy"}, status=503), "server busy"),
        (Reply(status=403), "the daemon refused the request (HTTP 403)"),
        (Reply(*spoken("4")[:1], {"error": "the worker died"}), "the worker died"),
        (Reply(*spoken("4")[:1]), "the daemon ended before the answer did"),
        (Reply(*spoken("4")[:1], cut=True), "in the middle of its answer"),
    ],
)
def test_errors_are_told_and_end_with_one(ktd: CommandLine, daemon: FakeDaemon, reply: Reply, error: str) -> None:
    daemon.replies[CHAT] = reply
    ran = ktd("run", "demo", "?")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: ") and error in ran.stderr
    assert ran.stdout in ("", "4\n")


def test_a_line_that_is_no_json_is_not_taken(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply([1, 2])
    assert "not a JSON object: [1, 2]" in ktd("run", "demo", "?").stderr


def test_a_daemon_elsewhere_is_not_started_here(tmp_path: Path) -> None:
    ran = CommandLine(tmp_path, "https://127.0.0.1:1")("run", "demo", "?")
    assert ran.returncode == 1
    assert ran.stderr == "Error: no daemon answers at https://127.0.0.1:1; `ktd serve` starts one\n"


def test_another_program_at_the_address_is_not_taken_for_ktd(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.version = {"version": "0.14.0"}
    ran = ktd("run", "demo", "?")
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"Error: Ollama listens at {daemon.url}; give ktd another address")
    assert daemon.requests == []


def test_an_unreadable_address_is_told(tmp_path: Path) -> None:
    ran = CommandLine(tmp_path, "ftp://box")("list")
    assert ran.returncode == 1
    assert ran.stderr == "Error: the daemon's address 'ftp://box' must begin with http:// or https://\n"


def test_ctrl_c_ends_an_answer_and_the_request(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply(*spoken(*["word "] * 1000), pause=0.05)
    running = ktd.start("run", "demo", "?")
    assert running.stdout is not None
    assert running.stdout.read(5) == "word "
    running.send_signal(signal.SIGINT)
    rest, errors = running.communicate()
    assert (running.returncode, errors) == (130, "")
    assert rest.endswith("\n")
    assert daemon.disconnected.wait(300)


def test_a_closed_output_is_no_traceback(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply(*spoken(*["word "] * 1000), pause=0.01)
    running = ktd.start("run", "demo", "?")
    assert running.stdout is not None and running.stderr is not None
    running.stdout.read(5)
    running.stdout.close()
    assert running.wait(300) == 1
    assert running.stderr.read() == ""
    running.stderr.close()


def test_a_model_that_embeds_prints_the_vector(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies["POST /api/show"] = Reply({"capabilities": ["embedding"]})
    daemon.replies["POST /api/embed"] = Reply({"embeddings": [[0.5, -0.25]]})
    ran = ktd("run", "nomic", "--truncate", "--dimensions", "2", "--keepalive", "1m", "two", "words", stdin="piped")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "[0.5, -0.25]\n", "")
    assert ktd("run", "nomic", "--truncate=false", "x").returncode == 0
    first, second = daemon.asked("POST /api/embed")
    assert first == {
        "model": "nomic",
        "input": "piped\ntwo words",
        "dimensions": 2,
        "truncate": True,
        "keep_alive": "1m",
    }
    assert second == {"model": "nomic", "input": "x", "truncate": False}
    assert ktd("run", "nomic").stderr == "Error: nomic embeds texts: give it one, as an argument or through a pipe\n"
