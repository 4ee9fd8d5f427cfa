import json

import click

from ktd.cli import session
from ktd.cli.client import Client, CliError, NotFound
from ktd.cli.screen import say


@click.command("stop")
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's own record.")
def command(model: str, as_json: bool) -> None:
    """Take a model out of memory. Answers that are being written are finished first.

    \b
      ktd stop demo
    """
    session.run(lambda client: stop(client, model, as_json), start=False)


async def stop(client: Client, model: str, as_json: bool) -> None:
    try:
        done = await client.request("POST", "/api/generate", {"model": model, "keep_alive": 0})
    except NotFound:
        raise CliError(f'couldn\'t find model "{model}" to stop') from None
    if as_json:
        say(json.dumps(done))
