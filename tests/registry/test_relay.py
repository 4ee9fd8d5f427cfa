"""One file over several connections: every byte once, in place, whatever breaks."""

import asyncio
import hashlib
import os
from collections.abc import Iterator

import pytest
from fake_hub import FakeHub, Fault
from hypothesis import given
from hypothesis import strategies as st
from pulling import Pulling, big, received, until

from ktd.registry.errors import BadDownload, HubUnreachable
from ktd.registry.pulls.blocks import BLOCK, Blocks, noted
from ktd.registry.pulls.limits import Limits, Pace, Slots
from ktd.registry.pulls.preflight import FIRST
from ktd.registry.pulls.relay import ALONE, SHORTEST
from ktd.registry.record import ModelRecord

BIG = "ns/Big-GGUF:Q8_0"
FILE = "Big-Q8_0.gguf"
MIB = 1 << 20
REPO = big(mib=24)  # three times what one connection fetches alone
DATA = REPO.files[FILE]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.repos["ns/Big-GGUF"] = REPO
        yield hub


@pytest.fixture
def pulling(home, hub) -> Iterator[Pulling]:
    with Pulling(home, hub) as pulling:
        yield pulling


def ranges(hub: FakeHub) -> list[tuple[int, int]]:
    """What was asked for, in order of the first byte."""
    asked = [one.range[6:].split("-") for one in hub.fetched(FILE)]
    return sorted((int(first), int(last) + 1 if last else len(DATA)) for first, last in asked)


def whole(record: ModelRecord) -> bool:
    return record.files[0].read_bytes() == DATA


async def test_every_byte_is_asked_for_once(pulling, hub):
    assert whole(await pulling.pull(BIG))
    pieces = ranges(hub)
    assert len(pieces) > 3
    assert [first for first, _ in pieces] == [0, *(end for _, end in pieces[:-1])]
    assert pieces[-1][1] == len(DATA) > ALONE


async def test_several_connections_at_once(pulling, hub):
    holds = [Fault(FILE, times=1, hold_at=1) for _ in range(3)]
    hub.faults += holds
    task = asyncio.create_task(pulling.pull(BIG))
    await until(lambda: not any(hold.times for hold in holds))  # three pieces are under way, and none has come
    for hold in holds:
        hold.go.set()
    assert whole(await task)


async def test_a_signed_address_serves_all_ranges_until_it_expires(pulling, hub):
    hub.faults.append(Fault(FILE, times=1, status=403))
    assert whole(await pulling.pull(BIG))
    signed = [asked for asked in hub.asked if asked.host == "hub" and asked.path.endswith(FILE)]
    assert 2 <= len(signed) < len(hub.fetched(FILE)) - 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FILE, times=3, cut_at=10 * MIB),
        Fault(FILE, times=4, status=503),
        Fault(FILE, times=2, status=429, headers={"Retry-After": "0"}),
        Fault(FILE, times=99, ignore_range=True),
        Fault(FILE, times=1, change=lambda data: data[: 12 * MIB] + b"?" + data[12 * MIB + 1 :]),
    ],
    ids=["cut", "503", "429", "no-ranges", "wrong-bytes"],
)
@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
async def test_faults_that_pass_are_survived(pulling, hub, fault, source):
    hub.faults.append(Fault(**{name: getattr(fault, name) for name in fault.__dataclass_fields__}))
    assert whole(await pulling.pull(BIG, source=source))


def gaps(pulling: Pulling) -> list[tuple[int, int]]:
    """What is missing of the file, by the notes that the next process reads."""
    with pulling.stage.open(hashlib.sha256(DATA).hexdigest(), len(DATA)) as partial:
        return list(partial.missing)


async def stopped_with_gaps(pulling: Pulling, hub: FakeHub, far: int = 9 * MIB) -> list[tuple[int, int]]:
    """One of two connections is held in the first piece while the other brings all that follows, up to byte `far`.

    Everything that the hub lets go has come before the pull is left, so what is missing is the same on every machine.
    Both lines are held within a block, which must not be kept.
    """
    pulling.pulls.limits.connections = 2
    start, end, half = FIRST, FIRST + SHORTEST, BLOCK // 2  # what came with the header, and the first piece after it
    halted = min(far + half, len(DATA))
    holds = [Fault(FILE, first=start, hold_at=start + half), Fault(FILE, times=10**6, hold_at=halted)]
    hub.faults += holds
    await pulling.leave_when(received(halted - (end - start) + half), BIG)
    for hold in holds:
        hold.go.set()
    hub.faults.clear()
    hub.asked.clear()
    missing = gaps(pulling)
    assert missing == [(start, end), *([(far, len(DATA))] if far < len(DATA) else [])]
    return missing


def joined(pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of bytes as few ranges; raises when a byte is in two of them."""
    found = list[tuple[int, int]]()
    for start, end in sorted(pieces):
        assert not found or start >= found[-1][1]
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, end))
    return found


async def test_what_came_is_kept_wherever_it_lies(pulling, hub):
    missing = await stopped_with_gaps(pulling, hub)
    [(_, here)] = pulling.pulls.unfinished()
    assert here == len(DATA) - sum(end - start for start, end in missing)
    assert whole(await pulling.pull(BIG))
    assert joined(ranges(hub)) == missing
    assert list((pulling.registry.home / "downloads").iterdir()) == []


async def test_what_a_power_cut_took_is_found_out_and_only_that_comes_again(pulling, hub):
    """Notes that reached the disk before the bytes they tell of: zeros, or nothing, are where blocks should be."""
    missing = await stopped_with_gaps(pulling, hub)
    (staged,) = (pulling.registry.home / "downloads").glob("*.part")
    here = next(end for _, end in missing)
    with staged.open("r+b") as file:
        file.seek(here)
        file.write(bytes(BLOCK))
    assert whole(await pulling.pull(BIG))
    assert joined(ranges(hub)) == joined([*missing, (here, here + BLOCK)])


@pytest.mark.parametrize("far", [9 * MIB, len(DATA)], ids=["middle", "end"])
@pytest.mark.parametrize("lost", [1, BLOCK, BLOCK + 1])
async def test_an_end_that_a_power_cut_took(pulling, hub, far, lost):
    """All blocks come again of which a byte is gone; the last of the file is short."""
    missing = await stopped_with_gaps(pulling, hub, far)
    (staged,) = (pulling.registry.home / "downloads").glob("*.part")
    assert staged.stat().st_size == far
    os.truncate(staged, far - lost)
    assert whole(await pulling.pull(BIG))
    assert joined(ranges(hub)) == joined([*missing, ((far - lost) // BLOCK * BLOCK, far)])


async def test_a_hub_that_never_gives_the_middle_is_given_up(pulling, hub):
    hub.faults += [Fault(FILE, times=10**6, ignore_range=True, cut_at=9 * MIB)]
    with pytest.raises(HubUnreachable, match="only from its first byte on"):
        await pulling.pull(BIG, source="huggingface")


@given(st.integers(0, 9 * BLOCK), st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(1, 4))))
def test_notes_are_those_of_a_list_of_blocks(tmp_path_factory, size, changes):
    """What was noted and dropped in any order is what the next process reads."""
    path = tmp_path_factory.mktemp("notes") / "blocks"
    data, here = bytes(size), set[int]()
    blocks = Blocks(path, size)
    for adds, first, count in changes:
        start, end = first * BLOCK, min((first + count) * BLOCK, size)
        if start >= end:
            continue
        (blocks.add(start, memoryview(data)[start:end]) if adds else blocks.drop(start, end))
        touched = set(range(first, -(-end // BLOCK)))
        here = here | touched if adds else here - touched
    blocks.close()
    blocks = Blocks(path, size)
    absent = [(at, min(at + BLOCK, size)) for at in range(0, size, BLOCK) if at // BLOCK not in here]
    assert list(blocks.missing()) == joined(absent)
    assert blocks.received == noted(path, size, size) == size - sum(end - start for start, end in absent)
    assert blocks.end == min((max(here, default=-1) + 1) * BLOCK, size)
    blocks.close()


async def test_a_piece_that_never_comes_keeps_what_came_before_it(pulling, hub):
    hub.faults.append(Fault(FILE, times=10**6, cut_at=9 * MIB))
    with pytest.raises(HubUnreachable, match="broke off 3 times in a row"):
        await pulling.pull(BIG, source="huggingface")
    missing = gaps(pulling)
    assert any(start <= 9 * MIB < end for start, end in missing)
    assert missing[0][0] > 0
    hub.faults.clear()
    hub.asked.clear()
    assert whole(await pulling.pull(BIG))


async def test_wrong_bytes_twice_are_refused_with_both_digests(pulling, hub):
    bad = DATA[:-1] + bytes([DATA[-1] ^ 1])
    hub.faults.append(Fault(FILE, times=10**6, change=lambda _: bad))
    with pytest.raises(BadDownload) as caught:
        await pulling.pull(BIG)
    for data in (DATA, bad):
        assert hashlib.sha256(data).hexdigest() in str(caught.value)


async def test_slots_grow_and_shrink_while_they_are_used():
    limits, most, running = Limits(connections=1), [0], set[int]()
    slots = Slots(lambda: limits.connections)
    go = [asyncio.Event() for _ in range(6)]

    async def use(number: int) -> None:
        async with slots:
            running.add(number)
            most.append(len(running))
            await go[number].wait()
            running.remove(number)

    tasks = [asyncio.create_task(use(number)) for number in range(6)]
    await until(lambda: running == {0})
    limits.connections = 3
    go[0].set()
    await until(lambda: running == {1, 2, 3})
    limits.connections = 1
    tasks[5].cancel()
    for event in go[1:4]:
        event.set()
    await until(lambda: running == {4})
    go[4].set()
    await asyncio.wait(tasks)
    assert max(most) == 3


async def test_a_rate_may_be_lifted_while_somebody_waits_for_it():
    limits = Limits(rate=1)
    pace = Pace(limits)
    waiting = asyncio.create_task(pace.spend(10**9))  # which at this rate would be thirty years
    await asyncio.sleep(0)
    limits.rate = None
    async with asyncio.timeout(20):
        await waiting
