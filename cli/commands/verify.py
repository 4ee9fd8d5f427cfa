import click

from ktd.cli import session
from ktd.cli.client import Client, Record
from ktd.cli.screen import say


@click.command("verify")
@click.argument("model", required=False)
@click.option("--repair", is_flag=True, help="Fetch damaged parts again from where they came.")
def command(model: str | None, repair: bool) -> None:
    """Read the files of a model (or of all) and compare them with their digests.

    \b
      ktd verify
      ktd verify unsloth/DeepSeek-R1-GGUF:IQ1_S --repair

    Only files that ktd pulled can be repaired; of those, only the damaged parts are fetched. Files that were
    imported in place are yours, and never written to.
    """
    body: Record = {"model": model or "", "repair": repair}

    async def verify(client: Client) -> None:
        from ktd.cli.progress import show

        await show(client.stream("/api/verify", body))
        say("success", err=True)

    session.run(verify)
