"""What the command line says about itself."""

import subprocess
from pathlib import Path

import pytest
from command_line import KTD, CommandLine

from ktd import __version__
from ktd.cli.main import ALIASES, COMMANDS


@pytest.fixture
def offline(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, "127.0.0.1:1")


def test_help_lists_every_command(offline: CommandLine) -> None:
    ran = offline("--help")
    assert ran.returncode == 0
    for name, text in COMMANDS.items():
        assert f"  {name}" in ran.stdout and text in ran.stdout


@pytest.mark.parametrize("name", [*COMMANDS, *ALIASES])
def test_every_command_teaches_by_example(offline: CommandLine, name: str) -> None:
    ran = offline(name, "--help")
    assert ran.returncode == 0
    assert f"\n    ktd {ALIASES.get(name, name)}" in ran.stdout


def test_version(offline: CommandLine) -> None:
    assert offline("--version").stdout == f"ktd version is {__version__}\n"


@pytest.mark.parametrize("words", [("sing",), ("list", "--colour"), ("run",), ("rm",)])
def test_a_wrong_call_explains_itself(offline: CommandLine, words: tuple[str, ...]) -> None:
    ran = offline(*words)
    assert ran.returncode == 2
    assert "Usage: " in ran.stderr and "Error: " in ran.stderr


def test_shells_can_complete_commands(offline: CommandLine) -> None:
    env = offline.env | {"_KTD_COMPLETE": "bash_complete", "COMP_WORDS": "ktd s", "COMP_CWORD": "1"}
    code = "from ktd.cli.main import main; main(prog_name='ktd')"
    ran = subprocess.run([*KTD[:2], "-c", code], env=env, capture_output=True, text=True)
    assert ran.stdout.split() == [f"plain,{name}" for name in COMMANDS if name.startswith("s")]
