"""One file over several connections: every byte once, in place, whatever breaks."""

import asyncio
import hashlib
from collections.abc import Iterator

import pytest
from fake_hub import FakeHub, Fault
from pulling import Pulling, big, received, until

from ktd.registry.errors import BadDownload, HubUnreachable
from ktd.registry.pulls.limits import Limits, Pace, Slots
from ktd.registry.pulls.relay import ALONE
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
    """What was asked of the file itself, in order of the first byte; the header was asked for before."""
    asked = [tuple(map(int, one.range[6:].split("-"))) for one in hub.fetched(FILE)[1:] if one.range[-1] != "-"]
    return sorted((first, last + 1) for first, last in asked)


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


async def test_what_lies_on_disk_is_a_prefix_however_it_ends(pulling, hub):
    """The first piece is held back while later ones arrive: of those nothing is kept that could not be found again."""
    hold = Fault(FILE, times=1, hold_at=0)
    hub.faults += [Fault(FILE, times=2), hold]
    await pulling.leave_when(received(5 * MIB), BIG)
    (staged,) = (pulling.registry.home / "downloads").glob("*.part")
    kept = staged.read_bytes()
    assert 0 < len(kept) < len(DATA)
    assert DATA.startswith(kept)
    hold.go.set()
    hub.asked.clear()
    assert whole(await pulling.pull(BIG))
    assert min(first for first, _ in ranges(hub)) >= len(kept)


async def test_a_piece_that_never_comes_keeps_what_came_before_it(pulling, hub):
    hub.faults.append(Fault(FILE, times=10**6, cut_at=9 * MIB))
    with pytest.raises(HubUnreachable, match="broke off 3 times in a row"):
        await pulling.pull(BIG, source="huggingface")
    (staged,) = (pulling.registry.home / "downloads").glob("*.part")
    assert DATA.startswith(staged.read_bytes())
    hub.faults.clear()
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
