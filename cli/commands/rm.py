import json

import click

from ktd.cli import session
from ktd.cli.client import Client
from ktd.cli.screen import say


@click.command("rm")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON, a line for each model.")
def command(models: tuple[str, ...], as_json: bool) -> None:
    """Remove models. Files that were imported in place stay where they are.

    \b
      ktd rm r1 r1-copy
      ktd rm demo                          `ktd run demo` brings it back
    """

    async def remove(client: Client) -> None:
        for model in models:
            await client.request("DELETE", "/api/delete", {"model": model})
            say(json.dumps({"deleted": model}) if as_json else f"deleted '{model}'")

    session.run(remove)
