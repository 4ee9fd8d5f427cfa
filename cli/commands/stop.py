import click

from ktd.cli import session
from ktd.cli.client import Client, CliError, NotFound


@click.command("stop")
@click.argument("model")
def command(model: str) -> None:
    """Take a model out of memory. Answers that are being written are finished first.

    \b
      ktd stop demo
    """
    session.run(lambda client: stop(client, model), start=False)


async def stop(client: Client, model: str) -> None:
    try:
        await client.request("POST", "/api/generate", {"model": model, "keep_alive": 0})
    except NotFound:
        raise CliError(f'couldn\'t find model "{model}" to stop') from None
