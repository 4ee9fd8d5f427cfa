import json

import click

from ktd.cli import human, session
from ktd.cli.client import Client, Record
from ktd.cli.commands.list import begins
from ktd.cli.screen import say

HEADER = ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL")


@click.command("ps")
@click.argument("prefix", default="")
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's own records.")
def command(prefix: str, as_json: bool) -> None:
    """Show the models in memory: where they run and how long they stay.

    \b
      ktd ps
      ktd ps --json
    """

    async def show(client: Client) -> None:
        models = [model for model in await client.models("/api/ps") if begins(model, prefix)]
        rows = [row(model) for model in models]
        say(json.dumps(models, indent=2) if as_json else human.table(HEADER, rows))

    session.run(show, start=False)


def row(model: Record) -> tuple[str, ...]:
    digest = str(model["digest"]).removeprefix("sha256:")
    place = processor(model["size"], model["size_vram"])
    size, context = human.size(model["size"]), str(model.get("context_length") or "")
    return model["name"], digest[:12], size, place, context, stays(model)


def processor(size: int, size_vram: int) -> str:
    """Where the bytes are: `100% CPU`, `100% GPU`, `48%/52% CPU/GPU`."""
    if not size:
        return "Unknown"
    if size_vram >= size:
        return "100% GPU"
    share = round(100 * size_vram / size)
    return f"{100 - share}%/{share}% CPU/GPU" if size_vram else "100% CPU"


def stays(model: Record) -> str:
    if loading := model.get("loading"):
        return f"Loading {100 * loading['completed'] // max(loading['total'], 1)}%"
    return human.until(model["expires_at"])
