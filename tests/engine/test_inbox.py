import asyncio

from ktd.engine.inbox import Inbox
from ktd.engine.messages import Delta, Done, TokenLogprob

DONE = Done(1, "stop", 1, 0, 3, 0, 0)


async def test_what_comes_while_nobody_reads_is_read_in_one() -> None:
    inbox, told = Inbox(), [(TokenLogprob(b"a", -1.0),), (TokenLogprob(b"b", -2.0),)]
    inbox.put(Delta(1, "a", 1, told[0]))
    assert await inbox.take() == [Delta(1, "a", 1, told[0])]
    for record in (Delta(1, "a", 1, told[0]), Delta(1, "b", 2, told[1]), DONE):
        inbox.put(record)
    assert await inbox.take() == [Delta(1, "ab", 3, told[0] + told[1]), DONE]


async def test_a_reader_waits_for_the_next_or_the_end() -> None:
    inbox = Inbox()
    reading = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    assert not reading.done()
    inbox.put(DONE)
    assert await reading == [DONE]
    reading = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    inbox.end()
    assert (await reading, await inbox.take()) == ([], [])


async def test_a_reader_that_left_is_followed_by_another() -> None:
    inbox = Inbox()
    reading = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    inbox.put(DONE)
    assert await inbox.take() == [DONE]
