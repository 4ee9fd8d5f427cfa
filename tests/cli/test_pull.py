"""`ktd pull` against a real daemon process and a hub on loopback, killed wherever it stands."""

import hashlib
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import KTD, CommandLine
from demo import F16
from fake_hub import FakeHub, Repo
from gguf_writer import STRING, small_model
from pulling import BASE, MODEL, STEM, big, r1
from terminal import Terminal

from ktd.registry.pulls.blocks import BLOCK
from ktd.registry.pulls.stage import Stage
from ktd.registry.store import Registry

BIG = "ns/Big-GGUF:Q8_0"
MIB = 1 << 20


@pytest.fixture
def hub(tmp_path) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.repos["unsloth/DeepSeek-R1-GGUF"] = r1(tmp_path)
        hub.repos["deepseek-ai/DeepSeek-R1"] = BASE
        hub.repos["ns/Big-GGUF"] = Repo(big("Big-Q8_0.gguf", 12).files | big("Big-Q4_K_M.gguf", 1).files)
        yield hub


class Daemon:
    """A daemon process on a port of its own, which a test may kill and start again."""

    def __init__(self, home: Path, hub: FakeHub) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.home = home
        self.url = f"http://127.0.0.1:{self.port}"
        self.ktd = CommandLine(home, self.url)
        self.ktd.env |= {"HF_ENDPOINT": hub.url, "MODELSCOPE_DOMAIN": hub.url}
        self.ktd.env["PATH"] = f"{home.parent}:{self.ktd.env.get('PATH', os.defpath)}"
        tool = home.parent / "nvidia-smi"  # stands in for NVIDIA's own
        tool.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771, 143105'\n")
        tool.chmod(0o755)
        self.process: subprocess.Popen[str]

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*KTD, "serve"], env=self.ktd.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout
        assert any("listens on" in line for line in self.process.stdout)  # settings that were given come before

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path) as reply:
            return json.loads(reply.read())

    def stop(self) -> str:
        self.process.terminate()
        return self.process.communicate(timeout=60)[0]


@pytest.fixture
def daemon(tmp_path, hub) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "home", hub)
    daemon.start()
    yield daemon
    if daemon.process.poll() is None:
        assert daemon.stop() == ""


def test_pull_and_what_belongs_to_it(daemon, hub):
    ktd = daemon.ktd
    pulled = ktd("pull", MODEL)
    assert pulled.returncode == 0, pulled.stderr
    lines = pulled.stderr.splitlines()
    assert lines[0] == "pulling manifest"
    assert lines[1].startswith("UD-IQ1_S: 1376 B in 3 files from Hugging Face, 1376 B to fetch, ")
    verdict = r"(fits|TOO LARGE for) this machine: about 26\d MB of memory needed, .* of RAM .* 150 GB of VRAM on 1 GPU"
    assert re.match(verdict, lines[2])
    assert lines[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
    assert [line.split()[-1] for line in lines[3:6]] == [
        f"{STEM}/{STEM}-0000{number}-of-00003.gguf" for number in (1, 2, 3)
    ]
    assert MODEL in ktd("list").stdout
    unknown = ktd("pull", "ns/Big-GGUF:Q6_K")
    assert (unknown.returncode, "Error: ns/Big-GGUF has no Q6_K; it has:" in unknown.stderr) == (1, True)
    table = ktd("quants", "ns/Big-GGUF").stdout.splitlines()
    assert [line.split()[0] for line in table[:3]] == ["QUANT", "Q4_K_M", "Q8_0"]
    assert "150 GB of VRAM on 1 GPU" in table[-1]
    found = json.loads(ktd("search", "deepseek", "--json").stdout)
    assert {one["source"] for one in found} == {"huggingface", "modelscope"}
    assert ktd("downloads").stdout.split() == ["NAME", "STATE", "DONE", "SIZE", "SINCE"]


def test_create_from_a_file_is_all_or_nothing(daemon, tmp_path):
    """Its file is registered under a passing name: what fails leaves the model of that name, and nothing else."""
    small_model().key("tokenizer.chat_template", STRING, "{{ messages[0].content }}").write(tmp_path / "small.gguf")
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text('FROM ./small.gguf\nSYSTEM """one\nFROM ./nowhere.gguf"""')
    made = daemon.ktd("create", "mine", "-f", str(modelfile))
    assert made.returncode == 0, made.stderr
    modelfile.write_text("FROM ./small.gguf\nSYSTEM two")
    failed = daemon.ktd("create", "mine", "-f", str(modelfile), "-q", "q4_K_M")
    assert failed.returncode == 1
    assert "Error: quantization is only supported for F16, BF16 and F32 models" in failed.stderr
    assert {model["name"] for model in daemon.get("/api/tags")["models"]} == {"mine:latest", "demo:latest"}
    assert daemon.ktd("show", "mine", "--system").stdout == "one\nFROM ./nowhere.gguf\n"


def test_quantizing_shows_how_far_it_is_and_ends_with_ctrl_c(daemon, tmp_path):
    """A bar with bytes, rate and the time that is left; whoever leaves early leaves no model and no file."""
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text(f"FROM {F16}\nSYSTEM smaller")
    create = [*KTD, "create", "small", "-f", str(modelfile), "-q", "q4_K_M"]
    with Terminal(create, daemon.ktd.env) as terminal:
        terminal.wait_for("quantizing F16 model to Q4_K_M")
        terminal.type("\x03")
        assert terminal.wait_for_end() == 130
    assert [model["name"] for model in daemon.get("/api/tags")["models"]] == ["demo:latest"]
    wait(lambda: [list((daemon.home / folder).iterdir()) for folder in ("staging", "blobs")] == [[], []])
    with Terminal(create, daemon.ktd.env) as terminal:
        terminal.wait_for("success")
        assert terminal.wait_for_end() == 0
    assert re.search(r"quantizing F16 model to Q4_K_M .*/\d+\.\d MB .* [MkG]?B/s \d:\d\d:\d\d", terminal.text)
    assert daemon.ktd("show", "small", "--system").stdout == "smaller\n"


def test_killed_anywhere_nothing_is_lost_and_nothing_half_there(daemon, hub):
    """Rows and files agree after every SIGKILL, and what had come is not asked for again."""
    hub.pace = 0.005
    dice, data = random.Random(7), hub.repos["ns/Big-GGUF"].files["Big-Q8_0.gguf"]
    stage, digest = Stage(daemon.home), hashlib.sha256(data).hexdigest()
    missing = [(0, len(data))]
    for killed in range(4):
        told = followed(daemon.url, killed * 2 * MIB + dice.randrange(4 * MIB))
        daemon.kill()
        agree(daemon.home)
        assert within(asked_ranges(hub), missing)
        with stage.open(digest, len(data)) as partial:
            missing, here = partial.missing, partial.received
        assert here >= told - 4 * 2 * BLOCK  # of four connections each a block, and what was on its way to the disk
        hub.asked.clear()
        daemon.start()
    pulled = daemon.ktd("pull", BIG)
    assert pulled.returncode == 0, pulled.stderr
    assert within(asked_ranges(hub), missing)
    agree(daemon.home)
    with Registry.open(daemon.home) as registry:
        record = registry.present(BIG)
    assert record.files[0].read_bytes() == data
    assert daemon.get("/api/downloads")["downloads"] == []


def followed(url: str, enough: int) -> int:
    """Have the model pulled until it is said that so many bytes are here, or more: as many as were said."""
    request = urllib.request.Request(f"{url}/api/pull", json.dumps({"model": BIG}).encode())
    with urllib.request.urlopen(request) as reply:
        lines = (json.loads(line).get("completed", 0) for line in reply)
        return next(completed for completed in lines if completed > enough)


def asked_ranges(hub: FakeHub) -> list[tuple[int, int]]:
    size = len(hub.repos["ns/Big-GGUF"].files["Big-Q8_0.gguf"])
    bounds = [one.range.removeprefix("bytes=").split("-") for one in hub.fetched("Big-Q8_0.gguf")]
    return [(int(first), int(last) + 1 if last else size) for first, last in bounds]


def within(pieces: list[tuple[int, int]], gaps: list[tuple[int, int]]) -> bool:
    return all(any(start <= first and last <= end for start, end in gaps) for first, last in pieces)


def agree(home: Path) -> None:
    """Every blob is what its name says; every model's files are there; the database is sound."""
    for path in (home / "blobs").iterdir():
        assert path.name == f"sha256-{hashlib.sha256(path.read_bytes()).hexdigest()}"
    connection = sqlite3.connect(home / "registry.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    with Registry.open(home) as registry:
        for record in registry.list():
            registry.present(record.name)


def test_whoever_stops_it_the_next_one_goes_on(daemon, hub):
    """The daemon's end, then Ctrl-C; meanwhile the API answers, and at last nobody watches."""
    hub.pace = 0.01
    part = daemon.home / "downloads"
    client = daemon.ktd.start("pull", BIG)
    wait(lambda: any(path.stat().st_size for path in part.glob("*.part")))
    assert daemon.get("/api/tags")["models"]
    assert daemon.stop() == ""
    assert "was stopped" in client.communicate()[1]
    daemon.start()
    client = daemon.ktd.start("pull", BIG)
    wait(lambda: [one["state"] for one in daemon.get("/api/downloads")["downloads"]] == ["running"])
    client.send_signal(signal.SIGINT)
    client.communicate()
    assert client.returncode == 130
    wait(lambda: daemon.get("/api/downloads")["downloads"][0]["state"] == "stopped")
    [stopped] = daemon.get("/api/downloads")["downloads"]
    assert 0 < stopped["completed"] < stopped["total"]
    hub.pace = 0
    limited = daemon.ktd("downloads", "--rate", "500M", "--connections", "2")
    assert limited.stdout == "500 MB a second, over 2 connections\n", limited.stderr
    assert daemon.ktd("downloads", "resume", BIG).returncode == 0
    wait(lambda: BIG in {model["name"] for model in daemon.get("/api/tags")["models"]})
    assert hub.fetched("Big-Q8_0.gguf")[-1].range.startswith("bytes=")


def wait(condition) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)
