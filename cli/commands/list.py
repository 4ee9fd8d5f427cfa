import json

import click

from ktd.cli import human, session
from ktd.cli.client import Client, Record
from ktd.cli.screen import say

HEADER = ("NAME", "ID", "SIZE", "MODIFIED")


@click.command("list")
@click.argument("prefix", default="")
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's own records.")
def command(prefix: str, as_json: bool) -> None:
    """Show the models on this machine, newest first.

    \b
      ktd list
      ktd list deep                        names that begin so
      ktd list --json | jq -r '.[].name'
    """

    async def show(client: Client) -> None:
        models = [model for model in await client.models("/api/tags") if begins(model, prefix)]
        rows = [row(model) for model in models]
        say(json.dumps(models, indent=2) if as_json else human.table(HEADER, rows))

    session.run(show)


def begins(model: Record, prefix: str) -> bool:
    return str(model["name"]).lower().startswith(prefix.lower())


def row(model: Record) -> tuple[str, ...]:
    digest = str(model["digest"]).removeprefix("sha256:")
    return model["name"], digest[:12], human.size(model["size"]), human.since(model["modified_at"])
