import click

from ktd.cli import human, session
from ktd.cli.client import Client
from ktd.cli.screen import say


@click.command("prune")
@click.option("--downloads", is_flag=True, help="Give up unfinished downloads too.")
def command(downloads: bool) -> None:
    """Remove files of ktd's own store that no model uses. Files that were imported in place are never touched.

    \b
      ktd prune
      ktd prune --downloads
    """

    async def prune(client: Client) -> None:
        pruned = await client.request("POST", "/api/prune", {"downloads": downloads})
        say(f"removed {pruned['files']} files, {human.size(pruned['freed'])}")

    session.run(prune)
