"""The conversation, typed on a pseudo-terminal."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import KTD, CommandLine
from fake_daemon import FakeDaemon, Record, Reply, spoken
from terminal import Terminal, shown

CHAT = "POST /api/chat"
EDITING_BEGINS, EDITING_ENDS = b"\x1b[?2004h", b"\x1b[?2004l"  # what the line editor tells the terminal


@pytest.fixture
def terminal(ktd: CommandLine, daemon: FakeDaemon) -> Iterator[Terminal]:
    """`ktd run demo` at its first prompt."""
    daemon.replies[CHAT] = Reply(*spoken("It is 42."))
    with Terminal([*KTD, "run", "demo"], ktd.env) as terminal:
        terminal.wait_for("Send a message (/? for help)")
        yield terminal


def say(terminal: Terminal, line: str) -> str:
    """Type a line and return what is shown before the next prompt."""
    terminal.type(line + "\r")
    terminal.wait_for(line)
    terminal.wait_for("Send a message")
    return shown(terminal.raw.rpartition(EDITING_BEGINS)[0].rpartition(EDITING_ENDS)[2]).strip()


def conversation(daemon: FakeDaemon) -> list[Record]:
    """The last chat request's messages."""
    return list(daemon.asked(CHAT)[-1]["messages"])


def test_it_remembers_until_it_is_told_to_forget(terminal: Terminal, daemon: FakeDaemon) -> None:
    assert daemon.asked(CHAT)[0]["messages"] == []  # the model is loaded while the user thinks
    assert say(terminal, "What is 12 + 30?") == "It is 42."
    say(terminal, "Sure?")
    assert [message["content"] for message in conversation(daemon)] == ["What is 12 + 30?", "It is 42.", "Sure?"]
    assert say(terminal, "/clear") == "Cleared session context"
    say(terminal, "Hello")
    assert conversation(daemon) == [{"role": "user", "content": "Hello"}]


def test_thinking_is_grey(terminal: Terminal, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply(*spoken("42", thinking=("12 + 30",)))
    assert say(terminal, "?") == "Thinking...\n12 + 30\n...done thinking.\n\n42"
    assert b"\x1b[90mThinking...\r\n12 + 30\r\n...done thinking.\x1b[0m" in terminal.raw


def test_an_answer_cannot_command_the_terminal(terminal: Terminal, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply(*spoken("a\x1b[2Jb\x1b]0;title\x07c\x9b1md"))
    assert say(terminal, "?") == "a[2Jb]0;titlec1md"


def test_settings_go_with_every_message(terminal: Terminal, daemon: FakeDaemon) -> None:
    assert say(terminal, "/set parameter temperature 0.5") == "Set parameter 'temperature' to '0.5'"
    say(terminal, "/set parameter stop one two")
    assert say(terminal, "/set system Be brief.") == "Set system message."
    assert say(terminal, "/set nothink") == "Set 'nothink' mode."
    say(terminal, "Hello")
    asked = daemon.asked(CHAT)[-1]
    assert asked["options"] == {"temperature": 0.5, "stop": ["one", "two"]}
    assert asked["think"] is False
    assert conversation(daemon)[0] == {"role": "system", "content": "Be brief."}
    say(terminal, "/set think high")
    say(terminal, "/clear")
    say(terminal, "Hello")
    assert daemon.asked(CHAT)[-1]["think"] == "high"
    assert conversation(daemon)[0]["role"] == "system"


def test_settings_that_cannot_be_are_told(terminal: Terminal) -> None:
    assert "unknown parameter 'warmth'" in say(terminal, "/set parameter warmth 1")
    assert "top_k must be a whole number, not many" in say(terminal, "/set parameter top_k many")
    assert say(terminal, "/set parameter") == "Usage: /set parameter NAME VALUE"
    assert say(terminal, "/set colour") == "Unknown setting 'colour'. Type /? for help"
    assert say(terminal, "/set think hard") == "Unknown level 'hard': low, medium, high or max"
    assert say(terminal, "/sing") == "Unknown command '/sing'. Type /? for help"
    assert "/set parameter NAME VALUE" in say(terminal, "/?")


def test_a_quoted_message_has_several_lines(terminal: Terminal, daemon: FakeDaemon) -> None:
    terminal.type('"""first\r')
    terminal.wait_for("... ")
    terminal.type("second\r")
    terminal.wait_for("... ")
    terminal.type('third"""\r')
    terminal.wait_for("It is 42.")
    assert conversation(daemon)[0]["content"] == "first\nsecond\nthird"


def test_what_is_known_can_be_shown(terminal: Terminal) -> None:
    assert "architecture        deepseek2" in say(terminal, "/show info")
    assert say(terminal, "/show template") == "{{ messages }}"
    assert say(terminal, "/show system") == "No system was given."
    say(terminal, "/set parameter top_k 7")
    assert [line.split() for line in say(terminal, "/show parameters").splitlines()] == [
        ["temperature", "0.6"],
        ["stop", '"</s>"'],
        ["top_k", "7"],
    ]
    assert say(terminal, "/show weights").startswith("Unknown part 'weights': info, parameters")


def test_timings_on_request(terminal: Terminal) -> None:
    say(terminal, "/set verbose")
    assert "eval rate:            20.00 tokens/s" in say(terminal, "Hello")
    say(terminal, "/set quiet")
    assert say(terminal, "Hello") == "It is 42."


def test_ctrl_c_stops_the_answer_only(terminal: Terminal, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply(*spoken(*["word "] * 1000), pause=0.05)
    terminal.type("Count\r")
    terminal.wait_for("word ")
    terminal.type("\x03")
    terminal.wait_for("Send a message")
    assert daemon.disconnected.wait(300)
    daemon.replies[CHAT] = Reply(*spoken("It is 42."))
    assert say(terminal, "Hello") == "It is 42."
    assert conversation(daemon) == [{"role": "user", "content": "Hello"}]


def test_ctrl_c_at_the_prompt_says_how_to_leave(terminal: Terminal) -> None:
    terminal.type("half a message\x03")
    terminal.wait_for("Use Ctrl + d or /bye to exit.")
    terminal.wait_for("Send a message")


def test_an_error_ends_the_answer_only(terminal: Terminal, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply({"error": "server busy"}, status=503)
    assert say(terminal, "Hello") == "Error: server busy"
    daemon.replies[CHAT] = Reply(*spoken("It is 42."))
    assert say(terminal, "Hello") == "It is 42."


@pytest.mark.parametrize("leave", ["/bye\r", "/exit\r", "\x04"])
def test_leaving(terminal: Terminal, leave: str) -> None:
    terminal.type(leave)
    assert terminal.wait_for_end() == 0


def test_messages_are_kept_for_next_time(terminal: Terminal, tmp_path: Path) -> None:
    say(terminal, "What is 12 + 30?")
    assert "+What is 12 + 30?" in (tmp_path / "history").read_text()
    assert (tmp_path / "history").stat().st_mode & 0o077 == 0


def test_long_answers_break_at_words(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies[CHAT] = Reply(*spoken("one two three ", "four five"))
    with Terminal([*KTD, "run", "demo", "?"], ktd.env, size=(40, 12)) as narrow:
        assert narrow.wait_for_end() == 0
        assert b"\x1b[" in narrow.raw
    daemon.replies[CHAT] = Reply(*spoken("one two three ", "four five"))
    with Terminal([*KTD, "run", "demo", "--nowordwrap", "?"], ktd.env, size=(40, 12)) as narrow:
        assert narrow.wait_for_end() == 0
        assert "one two three four five" in narrow.text


def test_answers_keep_to_a_format(terminal: Terminal, daemon: FakeDaemon, tmp_path: Path) -> None:
    assert say(terminal, "/set format json") == "Set format to 'json' mode."
    say(terminal, "Hello")
    assert daemon.asked(CHAT)[-1]["format"] == "json"
    say(terminal, '/set format {"type": "object"}')
    say(terminal, "Hello")
    assert daemon.asked(CHAT)[-1]["format"] == {"type": "object"}
    assert "Couldn't set format: /nowhere is not json" in say(terminal, "/set format /nowhere")
    assert say(terminal, "/set noformat") == "Set 'noformat' mode."
    say(terminal, "Hello")
    assert "format" not in daemon.asked(CHAT)[-1]


def test_another_model_begins_anew(terminal: Terminal, daemon: FakeDaemon) -> None:
    say(terminal, "Hello")
    daemon.replies["POST /api/show"] = Reply({"error": "model 'r1' not found"}, status=404)
    assert say(terminal, "/load r1") == "Couldn't find model 'r1'"
    daemon.replies["POST /api/show"] = Reply({})
    assert say(terminal, "/load r2").startswith("Loading model 'r2'")
    assert daemon.asked(CHAT)[-1] | {"options": {}} == {"model": "r2", "messages": [], "stream": False, "options": {}}
    say(terminal, "Hello again")
    assert [message["content"] for message in conversation(daemon)] == ["Hello again"]


def test_a_session_becomes_a_model(terminal: Terminal, daemon: FakeDaemon) -> None:
    daemon.replies["POST /api/create"] = Reply({"status": "success"})
    for line in ("/set parameter top_k 3", "/set system Be brief.", "Hello"):
        say(terminal, line)
    assert say(terminal, "/save brief") == "Created new model 'brief'"
    assert daemon.asked("POST /api/create") == [
        {
            "model": "brief",
            "from": "demo",
            "stream": False,
            "system": "Be brief.",
            "parameters": {"top_k": 3},
            "messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "It is 42."}],
        }
    ]
    assert say(terminal, "/save") == "Usage: /save MODEL"


def test_no_history_when_it_is_not_wanted(terminal: Terminal, tmp_path: Path) -> None:
    say(terminal, "/set nohistory")
    say(terminal, "a secret")
    say(terminal, "/set history")
    say(terminal, "no secret")
    kept = (tmp_path / "history").read_text()
    assert "+no secret" in kept and "a secret" not in kept


def test_models_and_keys_are_listed(terminal: Terminal, daemon: FakeDaemon) -> None:
    daemon.replies["GET /api/tags"] = Reply({"models": []})
    assert say(terminal, "/list") == "NAME    ID    SIZE    MODIFIED"
    assert "Ctrl-G            write the message in an editor" in say(terminal, "/? shortcuts")


def test_a_message_may_be_written_in_an_editor(ktd: CommandLine, daemon: FakeDaemon, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\necho 'written elsewhere' > $1\n")
    editor.chmod(0o755)
    daemon.replies[CHAT] = Reply(*spoken("It is 42."))
    with Terminal([*KTD, "run", "demo"], ktd.env | {"OLLAMA_EDITOR": str(editor)}) as terminal:
        terminal.wait_for("Send a message (/? for help)")
        terminal.type("\x07")
        terminal.wait_for("written elsewhere")
        terminal.type("\r")
        terminal.wait_for("It is 42.")
    assert conversation(daemon) == [{"role": "user", "content": "written elsewhere"}]
