"""`ktd doctor` on this machine, and on one where nothing is right."""

import json
from pathlib import Path

import demo
from command_line import CommandLine
from fake_daemon import FakeDaemon, Reply

TAGS, FILES = "GET /api/tags", "GET /api/files"


def test_all_is_well(ktd: CommandLine, daemon: FakeDaemon) -> None:
    (ktd.home / "local.key").write_text("key")
    daemon.replies[TAGS] = Reply({"models": [{"name": "demo:latest", "size": 13_000_000}]})
    daemon.replies[FILES] = Reply({"files": [str(demo.Q8_0)]})
    ran = ktd("doctor")
    assert ran.returncode == 0, ran.stderr
    for words in ("processor", "instructions", "memory", "bandwidth", f"{daemon.url}  answers, ktd 0.1.0", " free\n"):
        assert words in ran.stdout
    (row,) = [line for line in ran.stdout.splitlines() if line.startswith("demo:latest")]
    assert row.split()[1:3] == ["13", "MB"] and row.endswith("yes") and "Problems" not in ran.stdout


def test_what_is_wrong_is_named(ktd: CommandLine, daemon: FakeDaemon, tmp_path: Path) -> None:
    (ktd.home / "local.key").write_text("key")
    daemon.replies[TAGS] = Reply({"models": [{"name": "gone:latest", "size": 5}]})
    daemon.replies[FILES] = Reply({"files": [str(tmp_path / "gone.gguf")]})
    found = json.loads(ktd("doctor", "--json").stdout)
    (model,) = found["models"]
    assert model["name"] == "gone:latest" and "gone.gguf" in model["problem"]
    daemon.version = {"version": "0.14.0"}
    ran = ktd("doctor", "--json")
    assert ran.returncode == 1
    (problem,) = json.loads(ran.stdout)["problems"]
    assert problem.startswith(f"Ollama listens at {daemon.url}")
