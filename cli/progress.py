"""Progress on stderr of what takes long: a bar for each file and for all, or plain lines where nobody looks."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, closing

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ktd.cli.client import Interrupted, Record
from ktd.cli.screen import say

SUCCESS = "success"
TOTAL = "total"
NAME = 40  # characters of a file's name that are shown


async def show(records: AsyncGenerator[Record]) -> Record:
    """Draw the lines of a pull and their like until "success", which is returned.

    Lines with a total are about bytes, of a file by its digest or of the step itself. Raises Interrupted when they end
    before "success".
    """
    with closing(Board(_bars(Console(stderr=True)))) as board:
        async with aclosing(records):
            async for record in records:
                status = str(record.get("status", ""))
                if status == SUCCESS:
                    return record
                if "total" in record:
                    board.update(str(record.get("digest") or status), record)
                else:
                    board.say(status)
    raise Interrupted("the daemon ended before it was done")


class Board:
    """A task for each file or step and, when there are several, one for their sum."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._bytes: dict[str, tuple[int, int]] = {}
        self._total: TaskID | None = None

    def close(self) -> None:
        self._bars.stop()

    def say(self, status: str) -> None:
        """A line below the bars so far, which stay as they are."""
        if self._bars.disable:
            say(status, err=True)
            return
        self._bars.stop()
        self._bars.console.print(status, highlight=False, markup=False)
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        self._tasks.clear()
        self._bytes.clear()
        self._total = None

    def update(self, key: str, record: Record) -> None:
        completed, total = int(record.get("completed") or 0), int(record.get("total") or 0)
        known = key in self._tasks
        self._bars.start()
        if not known:
            self._tasks[key] = self._bars.add_task(_label(record), total=total, completed=completed)
            if self._bars.disable:
                say(f"{record.get('status')} {record.get('file', '')}".rstrip(), err=True)
        self._bars.update(self._tasks[key], completed=completed)
        if record.get("file"):
            self._bytes[key] = completed, total
        if len(self._bytes) > 1:
            self._sum(new=not known)

    def _sum(self, *, new: bool) -> None:
        completed, total = (sum(column) for column in zip(*self._bytes.values(), strict=True))
        if self._total is None or new:  # the last line is the sum's
            if self._total is not None:
                self._bars.remove_task(self._total)
            self._total = self._bars.add_task(TOTAL, total=total, completed=completed)
        self._bars.update(self._total, completed=completed, total=total)


def _label(record: Record) -> str:
    name = str(record.get("file") or record.get("status", "")).rpartition("/")[2]
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
