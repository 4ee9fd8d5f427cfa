"""Inbox: what a worker has said to one request, until it is read."""

import asyncio
from collections.abc import Sequence

from ktd.engine.messages import Delta, FromWorker


class Inbox:
    """For one reader. Text that came in several pieces before it was read is read in one."""

    def __init__(self) -> None:
        self._records: list[FromWorker] = []
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, record: FromWorker) -> None:
        self._records.append(record)
        self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._wake()

    async def take(self) -> Sequence[FromWorker]:
        """All that has come, as soon as there is something; nothing at the end."""
        if not self._records and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        records, self._records = self._records, []
        return records if len(records) < 2 else _joined(records)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _joined(records: Sequence[FromWorker]) -> Sequence[FromWorker]:
    """With one Delta for all: they come before anything else."""
    deltas = [record for record in records if isinstance(record, Delta)]
    return [_sum(deltas), *records[len(deltas) :]] if deltas else records


def _sum(deltas: Sequence[Delta]) -> Delta:
    return Delta(
        id=deltas[0].id,
        text="".join(delta.text for delta in deltas),
        tokens=sum(delta.tokens for delta in deltas),
        logprobs=tuple(each for delta in deltas for each in delta.logprobs),
    )
