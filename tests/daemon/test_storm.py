"""A short storm on a real daemon and a real engine: all answers right, nothing left over.

`tests/bench/storm.py` does the same for a minute.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from processes import children
from storm import CONTEXT, Storm, descriptors, fills_the_cache, resident_bytes
from until import until

from ktd.daemon.listening import listening
from ktd.daemon.settings import Settings
from ktd.engine.client import EngineClient
from ktd.registry.store import Registry

STREAMS = 64
SECONDS = 2.0
GROWTH = 16 << 20  # bytes: client and daemon are one process here, and arenas grow in steps of a MiB


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def test_nothing_is_left_over(settings: Settings, registry: Registry) -> None:
    async with listening(replace(settings, cache_tokens=CONTEXT), registry, EngineClient()) as url:
        storm = Storm(url)
        await storm.learn()
        await storm.rage(STREAMS, SECONDS)  # pools and caches come to their size
        await asyncio.sleep(0.2)  # the last connections close
        before = resident_bytes("self"), descriptors("self"), len(asyncio.all_tasks())
        tally = await storm.rage(STREAMS, SECONDS, seed=STREAMS)
        assert not tally.wrong
        assert set(tally.ends) == {"whole", "left"}, tally.ends
        await until(lambda: descriptors("self") <= before[1] and len(asyncio.all_tasks()) <= before[2])
        assert resident_bytes("self") < before[0] + GROWTH
        assert await fills_the_cache(url)


async def test_only_the_limit_turns_anyone_away(settings: Settings, registry: Registry) -> None:
    async with listening(replace(settings, max_queue=8), registry, EngineClient()) as url:
        storm = Storm(url)
        await storm.learn()
        tally = await storm.rage(STREAMS, SECONDS)
    assert not tally.wrong
    assert set(tally.ends) == {"whole", "left", "busy"}, tally.ends


async def test_unloading_gives_every_byte_back(
    settings: Settings, registry: Registry, http: aiohttp.ClientSession
) -> None:
    async with listening(settings, registry, EngineClient()) as url:
        for _ in range(2):
            async with http.post(f"{url}/api/generate", json={"model": "demo"}) as reply:
                assert reply.status == 200
            (worker,) = [pid for pid, line in children(os.getpid()).items() if "ktd.engine.worker" in line]
            assert resident_bytes(worker) > 10 << 20
            async with http.post(f"{url}/api/generate", json={"model": "demo", "keep_alive": 0}) as reply:
                assert (await reply.json())["done_reason"] == "unload"
            assert not Path(f"/proc/{worker}").exists()  # the reply comes when it is gone
