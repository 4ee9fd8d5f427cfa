"""`ktd serve`: its flags, what it says of them, and the launch line of KTransformers' server."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import demo
import pytest
from command_line import KTD, CommandLine

from ktd.cli.commands import serve
from ktd.daemon.settings import ROWS


@pytest.fixture
def ktd(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "home", "127.0.0.1:0")


def test_every_setting_is_a_flag() -> None:
    assert set(serve.FLAGS) == {row.variable for row in ROWS}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--cache_8bit"], "No such option '--cache_8bit'"),
        (["--backend_type", "exllama"], "'exllama' is not one of"),
        (["--optimize_config_path", "/nowhere.yaml"], "--rules=/nowhere.yaml: cannot be read: No such file"),
        (["--threads", "many"], "--threads=many: not a whole number"),
        (["--api-key", "short"], "--api-key=...: not a key of at least eight"),
        (["--config", "/nowhere.toml"], "/nowhere.toml cannot be read: No such file"),
        (["--tls-key", "/k.pem"], "--tls-key=/k.pem: this needs TLS_CERT too"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(ktd: CommandLine, words: list[str], problem: str) -> None:
    ran = ktd("serve", *words)
    assert ran.returncode != 0
    assert problem in ran.stderr


@pytest.fixture
def launched(ktd: CommandLine, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """KTransformers' own launch line, with `ktd serve` in front."""
    folder = tmp_path / "DeepSeek-R1-GGUF"
    (folder / "UD-IQ1_S").mkdir(parents=True)
    (folder / "UD-IQ1_S" / "tiny.gguf").symlink_to(demo.F16)
    rules = tmp_path / "DeepSeek-V3-Chat-serve.yaml"
    rules.write_text("- match:\n    name: ^lm_head$\n")
    line = (
        f"--port 0 --model_path {demo.BUNDLE} --gguf_path {folder} --optimize_config_path {rules} "
        "--max_new_tokens 10 --cache_lens 1024 --chunk_size 256 --max_batch_size 4 --backend_type balance_serve"
    )
    process = subprocess.Popen(
        [*KTD, "serve", *line.split()], env=ktd.env, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    )
    yield process
    process.terminate()
    process.communicate()


def test_ktransformers_launch_line(launched: "subprocess.Popen[str]") -> None:
    assert launched.stdout is not None
    said = ""
    while "is loaded" not in said:
        line = launched.stdout.readline()
        assert line, said
        said += line
    for words in ("port = 0  (from --port)", "cache-tokens = 1024  (from --cache-tokens)", "host = 127.0.0.1:0"):
        assert words in said
    assert "tiny:latest is loaded, with a context of 1024 tokens" in said
    url = said.split(" listens on ")[1].split()[0]
    body = {"model": "tiny", "messages": [{"role": "user", "content": "What is 12 + 30?"}], "max_tokens": 1000}
    with urllib.request.urlopen(f"{url}/v1/chat/completions", json.dumps(body).encode()) as reply:
        answer = json.load(reply)
    assert answer["usage"]["completion_tokens"] == 10
    assert answer["choices"][0]["finish_reason"] == "length"
    with urllib.request.urlopen(f"{url}/api/ps") as reply:
        (loaded,) = json.load(reply)["models"]
    assert loaded["expires_at"] > "2200"
