"""What a model file says of itself must not reach the terminal as commands."""

from pathlib import Path

from command_line import KTD, CommandLine
from fake_daemon import FakeDaemon, Reply, spoken
from terminal import Terminal

SHOW, CHAT = "POST /api/show", "POST /api/chat"
HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x1b[2J\x9b5n"


def everything_shown(command: list[str], ktd: CommandLine) -> bytes:
    with Terminal([*KTD, *command], ktd.env) as terminal:
        terminal.wait_for("red")
        terminal.process.wait(60)
        return terminal.raw


def test_a_description_cannot_talk_to_the_terminal(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[SHOW] = Reply({"license": HOSTILE, "system": HOSTILE, "template": HOSTILE, "model_info": {}})
    for command in (["show", "demo"], ["show", "demo", "--template"], ["show", "demo", "-v"]):
        raw = everything_shown(command, ktd)
        assert b"\x1b" not in raw and b"\x9b" not in raw and b"\x07" not in raw


def test_an_error_cannot_talk_to_the_terminal(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[SHOW] = Reply({"error": HOSTILE}, status=500)
    assert b"\x1b]" not in everything_shown(["show", "demo"], ktd)


def test_a_pipe_gets_the_text_as_it_is(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[SHOW] = Reply({"system": HOSTILE, "model_info": {}})
    assert ktd("show", "demo", "--system").stdout == HOSTILE + "\n"


def test_an_output_that_cannot_be_written_is_told(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply(*spoken("It is 42."))
    running = ktd.start("run", "demo", "?", stdout=Path("/dev/full"))
    _, errors = running.communicate(timeout=300)
    assert running.returncode != 0
    assert "Error: the output could not be written: No space left on device" in errors
    assert "Traceback" not in errors
