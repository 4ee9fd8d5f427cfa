import click

from ktd.cli import session
from ktd.cli.client import Client


@click.command("push")
@click.argument("model")
def command(model: str) -> None:
    """Say how a model gets to a hub: with the hub's own tool.

    \b
      ktd push me/my-model                 tells which
      hf upload me/my-model model.gguf

    The files of a model are what `ktd show MODEL --modelfile` names after FROM.
    """

    async def push(client: Client) -> None:
        await client.request("POST", "/api/push", {"model": model})

    session.run(push)
