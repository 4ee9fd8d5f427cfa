"""Pulls that stopped: what is listed of them, what of them is kept, and what goes."""

import asyncio
import hashlib
import os
from collections.abc import Iterator

import pytest
from fake_hub import FakeHub, Fault
from pulling import BASE, MODEL, Pulling, big, r1, received, until

from ktd.registry.errors import HubUnreachable, NoSuchDownload, PullStopped
from ktd.registry.names import ModelName
from ktd.registry.news import Said
from ktd.registry.record import ModelRecord
from ktd.registry.sizes import gigabytes

BIG = "ns/Big-GGUF:Q8_0"
FILE = "Big-Q8_0.gguf"
MIB = 1 << 20


@pytest.fixture
def hub(tmp_path) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.repos["unsloth/DeepSeek-R1-GGUF"] = r1(tmp_path)
        hub.repos["deepseek-ai/DeepSeek-R1"] = BASE
        hub.repos["ns/Big-GGUF"] = big()
        yield hub


@pytest.fixture
def pulling(home, hub) -> Iterator[Pulling]:
    with Pulling(home, hub) as pulling:
        yield pulling


def whole(pulling: Pulling, record: ModelRecord, repo: str) -> bool:
    """Whether the model's files are those of the hub, in order."""
    theirs = [data for path, data in sorted(pulling.hub.repos[repo].files.items()) if path.endswith(".gguf")]
    return [path.read_bytes() for path in record.files] == theirs


async def test_a_stopped_pull_of_a_model_that_was_here_before_is_listed(pulling, hub):
    await pulling.pull(BIG)
    pulling.registry.delete(BIG)
    hub.faults.append(Fault(FILE, times=99, hold_at=2 * MIB))
    await pulling.leave_when(received(MIB), BIG)
    [(unfinished, here)] = pulling.pulls.unfinished()
    assert (unfinished.state, MIB <= here <= 2 * MIB) == ("stopped", True)


async def test_pause_resume_cancel(pulling, hub):
    hold = Fault(FILE, times=99, hold_at=2 * MIB)
    hub.faults.append(hold)
    name = ModelName.parse(BIG)
    task = asyncio.create_task(pulling.pull(BIG))
    await until(lambda: any(size >= MIB for size in pulling.partials().values()))
    await asyncio.to_thread(pulling.pulls.pause, name)
    with pytest.raises(PullStopped, match="was paused"):
        await task
    [(unfinished, here)] = pulling.pulls.unfinished()
    assert (unfinished.state, MIB <= here <= 2 * MIB) == ("paused", True)
    hold.go.set()
    await asyncio.to_thread(pulling.pulls.resume, name)
    await until(lambda: not pulling.pulls.unfinished())
    assert whole(pulling, pulling.registry.find(BIG), "ns/Big-GGUF")
    for action in (pulling.pulls.pause, pulling.pulls.resume, pulling.pulls.cancel):
        with pytest.raises(NoSuchDownload):
            await asyncio.to_thread(action, name)


async def test_cancel_removes_what_came(pulling, hub):
    hub.faults += [Fault("00003-of-00003.gguf", times=99, status=503)]
    with pytest.raises(HubUnreachable):
        await pulling.pull(source="huggingface")
    assert list((pulling.registry.home / "blobs").iterdir())
    await asyncio.to_thread(pulling.pulls.cancel, ModelName.parse(MODEL))
    assert list((pulling.registry.home / "blobs").iterdir()) == []
    assert (pulling.partials(), pulling.pulls.unfinished()) == ({}, [])


async def test_cancel_leaves_what_another_pull_wants(pulling, hub):
    """Two names for the same files: one pull fetches, the other waits for it and is cancelled."""
    hold = Fault("00003-of-00003.gguf", hold_at=16)
    hub.faults.append(hold)
    fetching = asyncio.create_task(pulling.pull())
    await until(lambda: not hold.times and len(list((pulling.registry.home / "blobs").iterdir())) == 2)
    waiting = asyncio.create_task(pulling.pull("unsloth/DeepSeek-R1-GGUF"))
    name = ModelName.parse("unsloth/DeepSeek-R1-GGUF")
    await until(lambda: any(one.request.name == name and one.files for one, _ in pulling.pulls.unfinished()))
    await asyncio.to_thread(pulling.pulls.cancel, name)
    with pytest.raises(PullStopped):
        await waiting
    assert len(list((pulling.registry.home / "blobs").iterdir())) == 2
    assert [path.suffix for path in sorted((pulling.registry.home / "downloads").iterdir())] == [".blocks", ".part"]
    [(unfinished, _)] = pulling.pulls.unfinished()
    assert (str(unfinished.request.name), len(unfinished.files)) == (MODEL, 3)
    hub.asked.clear()
    hold.go.set()
    assert whole(pulling, await fetching, "unsloth/DeepSeek-R1-GGUF")
    assert hub.fetched(".gguf") == []


@pytest.mark.parametrize(("left", "here"), [(None, 0), (MIB + 5, MIB)], ids=["removed", "cut-short"])
async def test_notes_about_bytes_that_are_gone_are_not_believed(pulling, hub, left, here):
    hold = Fault(FILE, hold_at=3 * MIB)
    hub.faults.append(hold)
    await pulling.leave_when(received(2 * MIB), BIG)
    hold.go.set()
    [staged] = (pulling.registry.home / "downloads").glob("*.part")
    if left is None:
        staged.unlink()
    else:
        os.truncate(staged, left)
    [(unfinished, counted)] = pulling.pulls.unfinished()
    assert counted == here
    said = [event.status for event in await pulling.events(BIG) if isinstance(event, Said)]
    assert f"{gigabytes(unfinished.total - here)} to fetch" in said[1]
    assert whole(pulling, pulling.registry.find(BIG), "ns/Big-GGUF")


async def test_a_pull_whose_bytes_came_but_are_not_proved_stays_listed(pulling, hub):
    data = hub.repos["ns/Big-GGUF"].files[FILE]
    pulling.stage.keep(hashlib.sha256(data).hexdigest(), len(data), data[:-1] + b"?")
    hub.faults.append(Fault(FILE, times=99, status=503))
    with pytest.raises(HubUnreachable):
        await pulling.pull(BIG, source="huggingface")
    [(unfinished, _)] = pulling.pulls.unfinished()
    assert (unfinished.state, unfinished.total) == ("failed", len(data))
