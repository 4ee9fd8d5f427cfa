"""Long work as streams: progress, cancelling, one at a time."""

import threading
from contextlib import aclosing

import pytest
from until import until

from ktd.daemon.chores import Cancelled, Chores, Tell
from ktd.registry.errors import ImportCancelled, ImportRefused
from ktd.registry.news import Said, Step
from ktd.registry.record import ModelRecord
from ktd.registry.store import Registry


class Work:
    """Reports one step, then waits to be let go or cancelled."""

    def __init__(self, record: ModelRecord) -> None:
        self.record = record
        self.go_on = threading.Event()
        self.began = False
        self.ended = False

    def __call__(self, tell: Tell, cancelled: Cancelled) -> ModelRecord:
        self.began = True
        try:
            tell(Step("working", 1, 2))
            while not self.go_on.wait(0.005):
                if cancelled():
                    raise ImportCancelled("cancelled")
            return self.record
        finally:
            self.ended = True


@pytest.fixture
def work(registry: Registry) -> Work:
    return Work(registry.find("demo"))


async def test_progress_then_the_model(work: Work) -> None:
    imports = Chores("import")
    async with aclosing(imports.run(work)) as steps:
        assert await anext(steps) == Step("working", 1, 2)
        work.go_on.set()
        assert [step async for step in steps] == [work.record]
    imports.close()


async def test_a_reader_that_leaves_cancels_it(work: Work) -> None:
    imports = Chores("import")
    async with aclosing(imports.run(work)) as steps:
        await anext(steps)
    assert work.ended
    imports.close()


async def test_closing_cancels_it(work: Work) -> None:
    imports = Chores("import")
    async with aclosing(imports.run(work)) as steps:
        await anext(steps)
        imports.close()
        with pytest.raises(ImportCancelled):
            await anext(steps)


async def test_all_that_is_said_comes_in_order_and_of_steps_the_latest(registry: Registry) -> None:
    def work(tell: Tell, cancelled: Cancelled) -> ModelRecord:
        tell(Said("first"))
        for done in range(1000):
            tell(Step("counting", done, 1000))
        tell(Said("last"))
        return registry.find("demo")

    chores = Chores("count")
    news = [one async for one in chores.run(work)]
    counted = [one.done for one in news if isinstance(one, Step)]
    assert (news[0], news[-2], news[-1]) == (Said("first"), Said("last"), registry.find("demo"))
    assert counted == sorted(counted) and counted[-1] == 999
    chores.close()


async def test_failures_reach_the_reader() -> None:
    def refuse(tell: Tell, cancelled: Cancelled) -> ModelRecord:
        raise ImportRefused("no")

    imports = Chores("import")
    with pytest.raises(ImportRefused):
        await anext(imports.run(refuse))
    imports.close()


async def test_one_at_a_time(work: Work, registry: Registry) -> None:
    imports, second = Chores("import"), Work(registry.find("demo"))
    second.go_on.set()
    async with aclosing(imports.run(work)) as first_steps, aclosing(imports.run(second)) as second_steps:
        await anext(first_steps)
        waiting = anext(second_steps)
        assert not second.began
        work.go_on.set()
        await until(lambda: work.ended)
        assert await waiting in (Step("working", 1, 2), second.record)
    imports.close()
