"""`list`, `ps` and `show`."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from command_line import CommandLine
from fake_daemon import FakeDaemon, Reply

from ktd.cli.commands.ps import processor

NOW = datetime.now(UTC)
R1 = {
    "name": "hf.co/unsloth/DeepSeek-R1-GGUF:IQ1_S",
    "digest": "8f2b1c0d9e7a" + "0" * 52,
    "size": 140_000_000_000,
    "modified_at": (NOW - timedelta(days=2, hours=1)).isoformat(),
}
DEMO = {
    "name": "demo:latest",
    "digest": "1" * 64,
    "size": 13_259_744,
    "modified_at": (NOW - timedelta(hours=3, minutes=1)).isoformat(),
}


def loaded(model: dict[str, Any], **more: object) -> dict[str, Any]:
    soon = (datetime.now(UTC) + timedelta(minutes=4, seconds=50)).isoformat()
    return {**model, "size_vram": 0, "context_length": 8192, "expires_at": soon, **more}


def test_list(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies["GET /api/tags"] = Reply({"models": [DEMO, R1]})
    assert ktd("list").stdout.splitlines() == [
        "NAME                                    ID              SIZE      MODIFIED",
        "demo:latest                             111111111111    13 MB     3 hours ago",
        "hf.co/unsloth/DeepSeek-R1-GGUF:IQ1_S    8f2b1c0d9e7a    140 GB    2 days ago",
    ]


def test_list_takes_a_beginning_in_any_case(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies["GET /api/tags"] = Reply({"models": [DEMO, R1]})
    assert [model["name"] for model in json.loads(ktd("ls", "HF.co/", "--json").stdout)] == [R1["name"]]
    assert json.loads(ktd("list", "--json").stdout) == [DEMO, R1]


def test_nothing_yet_is_a_header(ktd: CommandLine, daemon: FakeDaemon) -> None:
    daemon.replies["GET /api/tags"] = Reply({"models": []})
    assert ktd("list").stdout == "NAME    ID    SIZE    MODIFIED\n"


def test_ps(ktd: CommandLine, daemon: FakeDaemon) -> None:
    progress = {"completed": 70_000_000_000, "total": 140_000_000_000}
    models = [loaded(DEMO), loaded(R1, size_vram=16_800_000_000, loading=progress, context_length=0)]
    daemon.replies["GET /api/ps"] = Reply({"models": models})
    header, *rows = [re.split(" {2,}", line) for line in ktd("ps").stdout.splitlines()]
    assert header == ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]
    assert rows == [
        ["demo:latest", "111111111111", "13 MB", "100% CPU", "8192", "4 minutes from now"],
        [R1["name"], "8f2b1c0d9e7a", "140 GB", "88%/12% CPU/GPU", "Loading 50%"],
    ]
    assert json.loads(ktd("ps", "demo", "--json").stdout) == models[:1]


@pytest.mark.parametrize(
    ("size", "size_vram", "text"),
    [(0, 0, "Unknown"), (10, 0, "100% CPU"), (10, 10, "100% GPU"), (100, 12, "88%/12% CPU/GPU")],
)
def test_where_the_bytes_are(size: int, size_vram: int, text: str) -> None:
    assert processor(size, size_vram) == text


def test_ps_starts_no_daemon(tmp_path: Path) -> None:
    ran = CommandLine(tmp_path, "127.0.0.1:1")("ps")
    assert ran.returncode == 1
    assert ran.stderr == "Error: no daemon answers at http://127.0.0.1:1; `ktd serve` starts one\n"
    assert not (tmp_path / "daemon.log").exists()


SHOWN = """\
  Model
    architecture        deepseek2
    parameters          12.4M
    context length      4096
    embedding length    256
    quantization        Q8_0

  Capabilities
    completion
    thinking

  Parameters
    temperature    0.6
    stop           "</s>"

  License
    MIT
    first line
    ...
"""


def test_show(ktd: CommandLine) -> None:
    assert ktd("show", "demo").stdout == SHOWN


def test_show_verbose_adds_metadata_and_tensors(ktd: CommandLine, daemon: FakeDaemon) -> None:
    shown = ktd("show", "demo", "-v").stdout
    assert shown.startswith(SHOWN)
    assert "deepseek2.context_length      4096" in shown
    assert "token_embd.weight    Q8_0    [256, 2048]" in shown
    assert daemon.asked("POST /api/show") == [{"model": "demo", "verbose": True}]


def test_show_says_where_a_model_in_memory_is(ktd: CommandLine, daemon: FakeDaemon) -> None:
    (record,) = daemon.replies["POST /api/show"].records
    rows = [
        {"part": "attention", "device": "cuda:0", "size": 6_750_000_000, "reason": "every token reads all of it"},
        {"part": "routed experts", "device": "cpu", "size": 129_000_000_000, "reason": "a token reads a few of them"},
    ]
    daemon.replies["POST /api/show"] = Reply({**cast(dict[str, object], record), "placement": rows})
    shown = ktd("show", "demo").stdout
    assert shown.startswith(SHOWN)
    assert shown.splitlines()[-3:] == [
        "  Placement",
        "    attention, cuda:0      6.8 GB    every token reads all of it",
        "    routed experts, cpu    129 GB    a token reads a few of them",
    ]


def test_show_one_part(ktd: CommandLine) -> None:
    assert ktd("show", "demo", "--template").stdout == "{{ messages }}\n"
    without = ktd("show", "demo", "--system")
    assert (without.returncode, without.stderr) == (1, "Error: 'demo' has no system\n")
    assert json.loads(ktd("show", "demo", "--json").stdout)["details"]["family"] == "deepseek2"
