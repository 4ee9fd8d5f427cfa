import click

from ktd.cli import session
from ktd.cli.client import Client
from ktd.cli.screen import say


@click.command("rm")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
def command(models: tuple[str, ...]) -> None:
    """Remove models. Files that were imported in place stay where they are.

    \b
      ktd rm r1 r1-copy
      ktd rm demo                          `ktd run demo` brings it back
    """

    async def remove(client: Client) -> None:
        for model in models:
            await client.request("DELETE", "/api/delete", {"model": model})
            say(f"deleted '{model}'")

    session.run(remove)
