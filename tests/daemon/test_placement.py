"""Where the parts of a model are, through a real daemon: torch on the CPU stands for a GPU."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from daemon_process import DaemonProcess

QUESTION = {"model": "demo", "messages": [{"role": "user", "content": "What is 12 + 30?"}], "stream": False}
GREEDY = {"options": {"temperature": 0}}
RULES = "- {match: 'blk.1.ffn_.*_exps', device: cpu}\n"


@pytest.fixture
async def placed(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    daemon = DaemonProcess(tmp_path / "home", KTD_DEVICES="torch-cpu", KTD_GPU_EXPERTS="1 layers", KTD_RULES=str(rules))
    async with aiohttp.ClientSession(daemon.url()) as session:
        yield session
    daemon.process.terminate()
    assert daemon.end()[0] == 0


async def posted(http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> Any:
    async with http.post(path, json=body) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.json()


async def test_an_answer_is_the_cpus_and_the_table_is_told(
    placed: aiohttp.ClientSession, http: aiohttp.ClientSession
) -> None:
    ours, cpus = [await posted(each, "/api/chat", QUESTION | GREEDY) for each in (placed, http)]
    assert ours["message"] == cpus["message"]
    assert "42" in ours["message"]["content"]
    async with placed.get("/api/ps") as reply:
        (model,) = (await reply.json())["models"]
    rows = {(row["part"], row["device"]): row for row in model["placement"]}
    assert rows["attention", "torch-cpu"]["size"] > 0
    assert rows["routed experts of layer 1", "cpu"]["reason"] == "by a rule"
    assert any(part.startswith("routed experts") and device == "torch-cpu" for part, device in rows)
    assert sum(row["size"] for row in model["placement"]) == model["size"]
    shown = await posted(placed, "/api/show", {"model": "demo"})
    assert shown["placement"] == model["placement"]
    await posted(placed, "/api/generate", {"model": "demo", "keep_alive": 0})
    assert "placement" not in await posted(placed, "/api/show", {"model": "demo"})


async def test_all_is_on_the_cpu_unless_asked_for(http: aiohttp.ClientSession) -> None:
    await posted(http, "/api/generate", {"model": "demo"})
    async with http.get("/api/ps") as reply:
        (model,) = (await reply.json())["models"]
    assert {row["device"] for row in model["placement"]} == {"cpu"}
