"""Damage is found, located and mended; what nothing uses goes, and nothing else."""

import asyncio
import os
from collections.abc import Iterator

import pytest
from fake_hub import FakeHub
from pulling import BASE, MODEL, Pulling, big, r1

from ktd.registry.errors import ModelBroken
from ktd.registry.news import Arrived, Said
from ktd.registry.pulls.hashes import PIECE, Hashes
from ktd.registry.pulls.limits import Limits
from ktd.registry.sources.hubs import Hubs
from ktd.registry.verify import Verifier, bad_ranges

BIG = "ns/Big-GGUF:Q8_0"
MIB = 1 << 20


@pytest.fixture
def pulling(home, tmp_path) -> Iterator[Pulling]:
    with FakeHub() as hub:
        hub.repos["unsloth/DeepSeek-R1-GGUF"] = r1(tmp_path)
        hub.repos["deepseek-ai/DeepSeek-R1"] = BASE
        hub.repos["ns/Big-GGUF"] = big(mib=40)  # three pieces
        with Pulling(home, hub) as pulling:
            yield pulling


@pytest.fixture
def verifier(pulling) -> Iterator[Verifier]:
    environ = {"HF_ENDPOINT": pulling.hub.url, "MODELSCOPE_ENDPOINT": pulling.hub.url}
    limits = Limits(first_wait=0.01, attempts=2)
    verifier = Verifier(pulling.registry, Hubs(pulling.registry.home, environ), limits)
    yield verifier
    verifier.close()


async def check(verifier: Verifier, name: str | None = None, repair: bool = False) -> list[str]:
    return [event.status async for event in verifier.run(name, repair) if isinstance(event, Said)]


def damage(path, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


async def test_only_the_bad_piece_is_fetched_again(pulling, verifier):
    record = await pulling.pull(BIG)
    path = record.files[0]
    good = path.read_bytes()
    assert await check(verifier) == []
    damage(path, 20 * MIB)
    with pytest.raises(ModelBroken, match=r"1 of 1 files are damaged; --repair"):
        await check(verifier, BIG)
    pulling.hub.asked.clear()
    said = await check(verifier, BIG, repair=True)
    assert f", in {PIECE} bytes" in said[0]
    assert said[1].endswith("is mended")
    assert [asked.range for asked in pulling.hub.fetched("gguf")] == [f"bytes={PIECE}-{2 * PIECE - 1}"]
    assert path.read_bytes() == good
    assert pulling.registry.present(BIG).files == record.files


@pytest.mark.parametrize("harm", ["gone", "short"])
async def test_a_file_that_is_gone_or_short_comes_again(pulling, verifier, harm):
    record = await pulling.pull()
    path = record.files[1]
    good = path.read_bytes()
    path.unlink() if harm == "gone" else os.truncate(path, 10)
    with pytest.raises(ModelBroken):
        pulling.registry.present(MODEL)
    said = await check(verifier, MODEL, repair=True)
    assert len(said) == 2
    assert path.read_bytes() == good
    assert pulling.registry.present(MODEL) == record


async def test_a_file_only_touched_is_right_again(pulling, verifier):
    record = await pulling.pull()
    written = record.files[0].stat().st_mtime_ns
    os.utime(record.files[0], ns=(written, written + 1))  # the clock of files may not have moved since
    with pytest.raises(ModelBroken):
        pulling.registry.present(MODEL)
    assert await check(verifier) == []
    pulling.registry.present(MODEL)


async def test_a_users_own_file_is_never_written_to(pulling, verifier, weights):
    pulling.registry.import_files([weights], "mine")
    damage(weights, 700)
    damaged = weights.read_bytes()
    said = []
    with pytest.raises(ModelBroken, match="1 of 1 files are damaged"):
        async for event in verifier.run("mine", True):
            said += [event.status] if isinstance(event, Said) else []
    assert "did not come from a hub" in said[1]
    assert weights.read_bytes() == damaged


async def test_the_check_tells_how_far_it_is(pulling, verifier):
    await pulling.pull(BIG)
    events = [event async for event in verifier.run(BIG, False)]
    assert all(isinstance(event, Arrived) for event in events)
    assert events[-1].received == events[-1].size


def test_checksums_do_not_depend_on_how_bytes_come():
    data = os.urandom(2 * PIECE + 5)
    sums = []
    for step in (PIECE // 3, PIECE, 5 * PIECE):
        one = Hashes()
        for start in range(0, len(data), step):
            one.add(memoryview(data)[start : start + step])
        sums.append(one.checksums)
    assert len(set(sums)) == 1
    assert len(sums[0]) == 12
    assert bad_ranges(sums[0], sums[0][:8], 7) is None


async def test_prune_removes_what_nothing_uses(pulling):
    record = await pulling.pull()
    orphan = pulling.registry.blobs.path(f"sha256:{'a' * 64}")
    orphan.write_bytes(b"12345")
    part = pulling.registry.home / "downloads" / f"{'b' * 64}.part"
    part.write_bytes(b"123")
    assert await asyncio.to_thread(pulling.registry.prune) == (1, 5)
    assert part.exists()
    assert pulling.registry.prune(downloads=True) == (1, 3)
    assert not (orphan.exists() or part.exists())
    assert pulling.registry.present(MODEL) == record
    assert record.bundle.is_dir()
