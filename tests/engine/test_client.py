"""The daemon's side of the socket; the test is the worker at the other end, so that it knows what comes at once."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio

from ktd.engine.client import JobFailed, WorkerHandle
from ktd.engine.frames import encode
from ktd.engine.messages import Delta, Failed, Prompt, Sampling


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[tuple[WorkerHandle, socket.socket]]:
    """A handle without a process, and the other end of its socket."""
    ours, theirs = socket.socketpair()
    worker = WorkerHandle()
    await worker._channel.open(ours)
    yield worker, theirs
    theirs.close()
    await worker._silent.wait()


async def test_text_that_comes_with_a_failure_is_read_before_it(ends: tuple[WorkerHandle, socket.socket]) -> None:
    worker, theirs = ends
    async with aclosing(worker.generate(Prompt("a"), Sampling())) as answer:
        first = asyncio.create_task(anext(answer))
        await asyncio.sleep(0)  # it has asked, and waits
        said = Delta(1, "Hel", 1), Delta(1, "lo", 1), Failed(1, "engine", "the step failed")
        theirs.sendall(b"".join(map(encode, said)))
        assert await first == Delta(1, "Hello", 2)
        with pytest.raises(JobFailed, match="the step failed") as failed:
            await anext(answer)
        assert failed.value.kind == "engine"


async def test_a_request_with_one_answer_fails_with_its_reason(ends: tuple[WorkerHandle, socket.socket]) -> None:
    worker, theirs = ends
    reading = asyncio.create_task(worker.tokenize(Prompt("a")))
    await asyncio.sleep(0)
    theirs.sendall(encode(Failed(1, "bad_request", "no such prompt")))
    with pytest.raises(JobFailed, match="no such prompt") as failed:
        await reading
    assert failed.value.kind == "bad_request"
