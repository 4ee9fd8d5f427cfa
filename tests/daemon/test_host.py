"""The model host over the fake engine: who loads, shares, stays and goes."""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import pytest
from fake_engine import FakeEngine
from until import until

from ktd.daemon.errors import Busy, LoadStalled, LoadStopped, Stopping
from ktd.daemon.host import ModelHost
from ktd.daemon.settings import Settings
from ktd.engine.client import LoadRefused, WorkerDied
from ktd.engine.messages import Prompt, Sampling
from ktd.registry.names import ModelName
from ktd.registry.record import ModelRecord
from ktd.registry.store import Registry


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def host(engine: FakeEngine, settings: Settings) -> AsyncIterator[ModelHost]:
    host = ModelHost(engine, replace(settings, max_loaded=2, max_queue=4))
    yield host
    await host.close()
    assert all(worker.closed for worker in engine.workers)


@pytest.fixture
def demo(registry: Registry) -> ModelRecord:
    """The demo model, as if it set no limit to its context."""
    record = registry.find("demo")
    return replace(record, details=replace(record.details, context_length=None))


def other(demo: ModelRecord, name: str) -> ModelRecord:
    """Another model."""
    return replace(demo, name=ModelName.parse(name), weights=f"{name:0>64}")


def names(host: ModelHost) -> set[str]:
    return {str(record.name) for resident in host.residents() for record in resident.records}


async def use(host: ModelHost, record: ModelRecord, context: int | None = None, keep_alive: float = 60) -> object:
    async with host.lease(record, context, keep_alive) as worker:
        return worker


async def test_a_model_is_loaded_once(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    first, second = await asyncio.gather(use(host, demo), use(host, demo))
    assert first is second
    assert [load.files for load in engine.loads] == [tuple(map(str, demo.files))]


async def test_a_copy_shares_the_weights(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    await use(host, demo)
    await use(host, replace(demo, name=ModelName.parse("copy")))
    assert len(engine.loads) == 1


async def test_a_file_imported_anew_is_loaded_anew(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    await use(host, demo)
    await use(host, replace(demo, weights="0" * 64))
    assert len(engine.loads) == 2


async def test_one_waiter_leaving_does_not_stop_the_load(
    host: ModelHost, engine: FakeEngine, demo: ModelRecord
) -> None:
    engine.may_load.clear()
    stays, leaves = asyncio.create_task(use(host, demo)), asyncio.create_task(use(host, demo))
    await until(lambda: bool(engine.loads))
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    engine.may_load.set()
    assert await stays is engine.workers[0]


async def test_a_load_goes_on_when_all_have_left(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    engine.may_load.clear()
    leaves = asyncio.create_task(use(host, demo))
    await until(lambda: bool(engine.loads))
    leaves.cancel()
    engine.may_load.set()
    await until(lambda: bool(engine.workers))
    await use(host, demo)
    assert len(engine.loads) == 1


async def test_a_refused_load_is_everyones(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    engine.refusals = [LoadRefused("bad_file", "tensor x is cut")]
    results = await asyncio.gather(use(host, demo), use(host, demo), return_exceptions=True)
    assert [str(result) for result in results] == ["tensor x is cut"] * 2
    assert host.residents() == []
    assert await use(host, demo) is engine.workers[0]


async def test_unloading_stops_a_load_that_nobody_waits_for(
    host: ModelHost, engine: FakeEngine, demo: ModelRecord
) -> None:
    engine.may_load.clear()
    leaves = asyncio.create_task(use(host, demo))
    await until(lambda: bool(engine.loads))
    leaves.cancel()
    await asyncio.wait([leaves])
    await host.unload(demo)
    assert (engine.loads_cancelled, engine.workers, host.residents()) == (1, [], [])


async def test_keep_alive_of_zero_unloads_after_the_request(
    host: ModelHost, engine: FakeEngine, demo: ModelRecord
) -> None:
    await use(host, demo, keep_alive=0)
    await until(lambda: engine.workers[0].closed)
    assert host.residents() == []


async def test_a_model_leaves_when_its_time_is_up(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    await use(host, demo, keep_alive=0.01)
    await until(lambda: engine.workers[0].closed)
    assert host.residents() == []


async def test_a_model_in_use_stays(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    async with host.lease(demo, keep_alive=0.001):
        await asyncio.sleep(0.02)
        assert not engine.workers[0].closed
    await until(lambda: engine.workers[0].closed)


async def test_for_ever_is_centuries(host: ModelHost, demo: ModelRecord) -> None:
    await use(host, demo, keep_alive=math.inf)
    (resident,) = host.residents()
    assert resident.expires_at.year > 2200


async def test_unloading_lets_running_requests_finish(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    async with host.lease(demo):
        await host.unload(demo)
        assert not engine.workers[0].closed
    await until(lambda: engine.workers[0].closed)


async def test_a_request_after_unload_keeps_a_busy_model(
    host: ModelHost, engine: FakeEngine, demo: ModelRecord
) -> None:
    async with host.lease(demo):
        await host.unload(demo)
        await use(host, demo, keep_alive=60)
    assert len(host.residents()) == 1


async def test_the_longest_unused_model_makes_room(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    a, b, c = (other(demo, name) for name in "abc")
    await use(host, a)
    await use(host, b)
    await use(host, a)
    await use(host, c)
    assert names(host) == {"a:latest", "c:latest"}
    assert [worker.closed for worker in engine.workers] == [False, True, False]


async def test_models_in_use_are_waited_for(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    a, b, c = (other(demo, name) for name in "abc")
    async with host.lease(a):
        async with host.lease(b):
            third = asyncio.create_task(use(host, c))
            await asyncio.sleep(0.01)
            assert len(engine.loads) == 2
        await third
        assert [worker.closed for worker in engine.workers] == [False, True, False]


async def test_idle_models_leave_when_memory_is_short(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    await use(host, other(demo, "a"))
    engine.refusals = [LoadRefused("out_of_memory", "needs 9 GB, 1 GB is free")]
    await use(host, demo)
    assert [worker.closed for worker in engine.workers] == [True, False]
    assert [load.whole for load in engine.loads] == [False, True, False]


async def test_nobody_leaves_for_what_will_never_fit(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    await use(host, other(demo, "a"))
    memory = engine.workers[0].loaded.memory
    engine.refusals = [LoadRefused("out_of_memory", "needs 9 GB, 1 GB is free", memory + 1) for _ in range(2)]
    with pytest.raises(LoadRefused, match="needs 9 GB"):
        await use(host, demo)
    assert names(host) == {"a:latest"}
    assert [load.whole for load in engine.loads] == [False, True, False]


async def test_a_shorter_context_comes_before_a_refusal(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    await use(host, other(demo, "a"))
    engine.refusals = [LoadRefused("out_of_memory", "needs 9 GB, 1 GB is free", 1 << 40)]
    await use(host, demo)
    assert names(host) == {"a:latest", "demo:latest"}


async def test_memory_of_models_in_use_is_waited_for(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    async with host.lease(other(demo, "a"), keep_alive=60):
        engine.refusals = [LoadRefused("out_of_memory", "needs 9 GB, 1 GB is free")]
        second = asyncio.create_task(use(host, demo))
        await until(lambda: not engine.refusals)
        await asyncio.sleep(0.01)
        assert not engine.workers[0].closed and not second.done()
    await second
    assert [worker.closed for worker in engine.workers] == [True, False]


async def test_the_file_cache_of_others_is_not_free(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    await use(host, other(demo, "a"))
    engine.workers[0].loaded = msgspec.structs.replace(engine.workers[0].loaded, mapped=700)
    await use(host, demo)
    assert [load.reserved for load in engine.loads] == [0, 700]


async def test_a_load_that_stands_still_is_given_up(engine: FakeEngine, settings: Settings, demo: ModelRecord) -> None:
    host = ModelHost(engine, replace(settings, load_timeout=0.05))
    engine.may_load.clear()
    with pytest.raises(LoadStalled, match=r"stood still for 0.05 seconds, at 5 of 10 bytes: it was given up"):
        await use(host, demo)
    assert engine.loads_cancelled == 1
    engine.may_load.set()
    assert await use(host, demo) is engine.workers[0]
    await host.close()


async def test_a_load_may_take_long_while_it_gets_on(engine: FakeEngine, settings: Settings, demo: ModelRecord) -> None:
    """Progress comes in a tenth of the time allowed, for longer than is allowed without."""
    host = ModelHost(engine, replace(settings, load_timeout=2.0))
    engine.progress_every = 0.2
    engine.may_load.clear()
    asyncio.get_running_loop().call_later(3.0, engine.may_load.set)
    await use(host, demo)
    await host.close()


async def test_settings_reach_the_engine(engine: FakeEngine, settings: Settings, demo: ModelRecord) -> None:
    limits = {"cache_tokens": 65536, "cache_type": "bf16", "step_tokens": 256, "parallel": 4}
    host = ModelHost(engine, replace(settings, max_new_tokens=1024, threads=3, **limits))
    await use(host, demo)
    (load,) = engine.loads
    assert {name: getattr(load, name) for name in limits} == limits
    assert (load.answer_tokens, load.threads, load.context) == (1024, 3, None)
    await host.close()


async def test_stopping_a_copy_leaves_the_original(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    copy = replace(demo, name=ModelName.parse("copy"))
    await use(host, demo)
    await host.unload(copy)
    assert names(host) == {"demo:latest"}
    await use(host, copy)
    assert names(host) == {"demo:latest", "copy:latest"}
    await host.unload(copy)
    assert names(host) == {"demo:latest"}
    await use(host, copy, keep_alive=0)
    assert names(host) == {"demo:latest"}
    assert not engine.workers[0].closed
    await host.unload(demo)
    assert engine.workers[0].closed


async def test_shared_weights_stay_as_long_as_any_model_wants_them(
    host: ModelHost, engine: FakeEngine, demo: ModelRecord
) -> None:
    await use(host, demo, keep_alive=math.inf)
    await use(host, replace(demo, name=ModelName.parse("copy")), keep_alive=0.01)
    await host.unload(demo)
    await until(lambda: engine.workers[0].closed)
    assert host.residents() == []


async def test_too_large_a_model_is_refused_when_nothing_can_leave(
    host: ModelHost, engine: FakeEngine, demo: ModelRecord
) -> None:
    engine.refusals = [LoadRefused("out_of_memory", "needs 9 GB, 1 GB is free")]
    with pytest.raises(LoadRefused, match="needs 9 GB"):
        await use(host, demo)


async def test_a_longer_context_reloads_and_a_shorter_does_not(
    host: ModelHost, engine: FakeEngine, demo: ModelRecord
) -> None:
    await use(host, demo, 1024)
    await use(host, demo, 512)
    await use(host, demo, None)
    await use(host, demo, 4096)
    await use(host, demo, 1024)
    assert [load.context for load in engine.loads] == [1024, 4096]
    assert [worker.closed for worker in engine.workers] == [True, False]


async def test_growth_waits_for_running_requests(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    async with host.lease(demo, 1024):
        longer = asyncio.create_task(use(host, demo, 4096))
        await asyncio.sleep(0.01)
        assert not engine.workers[0].closed
    await longer
    assert engine.workers[0].closed


async def test_longer_contexts_asked_for_while_loading_come_in_turn(
    host: ModelHost, engine: FakeEngine, demo: ModelRecord
) -> None:
    engine.may_load.clear()
    tasks = [asyncio.create_task(use(host, demo, context)) for context in (None, 4096, 8192)]
    await until(lambda: bool(engine.loads))
    engine.may_load.set()
    async with asyncio.timeout(20):
        await asyncio.gather(*tasks)
    assert len(host.residents()) == 1
    assert sum(not worker.closed for worker in engine.workers) == 1


async def test_no_context_is_longer_than_the_model_was_trained_for(
    host: ModelHost, engine: FakeEngine, demo: ModelRecord
) -> None:
    short = replace(demo, details=replace(demo.details, context_length=2048))
    await use(host, short, 1 << 20)
    await use(host, short, 4096)
    assert [load.context for load in engine.loads] == [2048]


async def test_a_model_that_cannot_have_so_long_a_context_is_loaded_only_once(
    host: ModelHost, engine: FakeEngine, demo: ModelRecord
) -> None:
    await use(host, demo, 1 << 20)
    engine.workers[0].loaded = type(engine.workers[0].loaded)("deepseek2", 2048, 1000, 0, ())
    await use(host, demo, 1 << 20)
    assert len(engine.loads) == 1


async def test_a_dead_worker_is_replaced(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    await use(host, demo)
    engine.workers[0].die()
    assert host.residents() == []
    assert await use(host, demo) is engine.workers[1]


async def test_a_worker_dying_under_a_request_does_not_take_the_next_along(
    host: ModelHost, engine: FakeEngine, demo: ModelRecord
) -> None:
    with pytest.raises(WorkerDied):
        async with host.lease(demo):
            engine.workers[0].die()
            assert await use(host, demo) is engine.workers[1]
            raise WorkerDied("killed")
    assert await use(host, demo) is engine.workers[1]
    await until(lambda: engine.workers[0].closed)


async def test_too_many_requests_are_turned_away(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    engine.may_load.clear()
    waiting = [asyncio.create_task(use(host, demo)) for _ in range(4)]
    await until(lambda: bool(engine.loads))
    with pytest.raises(Busy, match="maximum pending requests exceeded"):
        await use(host, demo)
    engine.may_load.set()
    await asyncio.gather(*waiting)
    await use(host, demo)


async def test_stopping_ends_loads_and_answers(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    engine.pause_at = 0
    answered = asyncio.Event()

    async def run() -> None:
        async with host.lease(demo) as worker:
            answered.set()
            async for _ in worker.generate(Prompt("a"), Sampling()):
                pass

    running = asyncio.create_task(run())
    await answered.wait()
    engine.may_load.clear()
    loading = asyncio.create_task(use(host, other(demo, "b")))
    await until(lambda: len(engine.loads) == 2)
    await host.close()
    results = await asyncio.gather(running, loading, return_exceptions=True)
    assert [type(result) for result in results] == [Stopping, Stopping]
    with pytest.raises(Stopping):
        await use(host, demo)
    assert not isinstance(results[1], LoadStopped)


async def test_an_idle_host_has_no_tasks(host: ModelHost, engine: FakeEngine, demo: ModelRecord) -> None:
    before = asyncio.all_tasks()
    await use(host, demo)
    await use(host, other(demo, "b"), keep_alive=0)
    await until(lambda: engine.workers[1].closed)
    await until(lambda: asyncio.all_tasks() == before)
