"""A bar on stderr for what the daemon does in the background; nothing when that is no terminal."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ktd.cli.client import Interrupted, Record

SUCCESS = "success"


async def show(records: AsyncGenerator[Record]) -> Record:
    """Draw {"status", "completed", "total"} records until {"status": "success"}, which is returned.

    Raises Interrupted when the stream ends before that.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        async with aclosing(records):
            async for record in records:
                if record.get("status") == SUCCESS:
                    return record
                bar.update(
                    task,
                    description=str(record.get("status", "")),
                    completed=record.get("completed", 0),
                    total=record.get("total"),
                )
    raise Interrupted("the daemon ended before it was done")
