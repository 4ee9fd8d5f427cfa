import json

import click

from ktd.cli import human, session
from ktd.cli.client import Client, CliError, Record
from ktd.cli.screen import say

HEADER = ("NAME", "STATE", "DONE", "SIZE", "SINCE")
ACTIONS = ("pause", "resume", "cancel")
DONE = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}


@click.command("downloads")
@click.argument("action", type=click.Choice(ACTIONS), required=False)
@click.argument("model", required=False)
@click.option("--rate", metavar="BYTES", help="Limit all downloads to so many bytes a second, such as 20M; 0 lifts it.")
@click.option("--connections", type=click.IntRange(1, 64), help="Fetch over so many connections at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's own records.")
def command(action: str | None, model: str | None, rate: str | None, connections: int | None, as_json: bool) -> None:
    """Show unfinished downloads, or pause, resume or cancel one, or limit them all.

    \b
      ktd downloads
      ktd downloads pause unsloth/DeepSeek-R1-GGUF:IQ1_S
      ktd downloads cancel unsloth/DeepSeek-R1-GGUF:IQ1_S
      ktd downloads --rate 5M --connections 2

    A resumed download runs in a daemon that stays (`ktd serve`), with nobody watching. Cancelling removes what
    has been fetched. Limits hold at once, for downloads under way too, until that daemon ends; KTD_PULL_RATE and
    KTD_PULL_CONNECTIONS are what it starts with.
    """
    limits = {"rate": rate, "connections": connections}
    if chosen := {name: value for name, value in limits.items() if value is not None}:
        if action is not None:
            raise CliError("limits are those of all downloads: give them without an action")
        session.run(lambda client: limit(client, chosen), start=False)
    elif action is None:
        session.run(lambda client: show(client, as_json))
    elif model is None:
        raise CliError(f"which download? ktd downloads {action} MODEL")
    else:
        session.run(lambda client: change(client, action, model), start=action != "resume")


async def show(client: Client, as_json: bool) -> None:
    reply = await client.request("GET", "/api/downloads")
    found = list(reply.get("downloads") or [])
    if as_json:
        return say(json.dumps(found, indent=2))
    say(human.table(HEADER, [row(download) for download in found]))
    for download in found:
        if download.get("error"):
            say(f"{download['model']}: {download['error']}", err=True)


async def limit(client: Client, chosen: Record) -> None:
    await client.request("POST", "/api/downloads", chosen | {"action": "limit"})
    now = await client.request("GET", "/api/downloads")
    rate = f"{human.size(now['rate'])} a second" if now["rate"] else "as fast as it goes"
    say(f"{rate}, over {now['connections']} connection{'s' * (now['connections'] > 1)}")


async def change(client: Client, action: str, model: str) -> None:
    await client.request("POST", "/api/downloads", {"model": model, "action": action})
    say(f"{DONE[action]} '{model}'")


def row(download: Record) -> tuple[str, ...]:
    completed, total = download["completed"], download["total"]
    share = f"{human.size(completed)} ({100 * completed // total}%)" if total else human.size(completed)
    return download["model"], download["state"], share, human.size(total), human.since(download["updated_at"])
