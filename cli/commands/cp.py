import json

import click

from ktd.cli import session
from ktd.cli.client import Client
from ktd.cli.screen import say


@click.command("cp")
@click.argument("source")
@click.argument("destination")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def command(source: str, destination: str, as_json: bool) -> None:
    """Give a model a second name. Its files are shared, not copied.

    \b
      ktd cp deepseek-r1:iq1_s r1
    """

    async def copy(client: Client) -> None:
        await client.request("POST", "/api/copy", {"source": source, "destination": destination})
        done = {"source": source, "destination": destination}
        say(json.dumps(done) if as_json else f"copied '{source}' to '{destination}'")

    session.run(copy)
