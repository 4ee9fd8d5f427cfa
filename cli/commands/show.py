import json

import click

from ktd.cli import description, session
from ktd.cli.client import Client, CliError, NotFound
from ktd.cli.screen import say


def part_flags(command: click.Command) -> click.Command:
    """One flag for each text of a model that can be printed alone."""
    for part in reversed(description.PARTS):
        text = f"Print only the {part}."
        command.params.insert(1, click.Option([f"--{part}", "part"], flag_value=part, help=text))
    return command


@part_flags
@click.command("show")
@click.argument("model")
@click.option("-v", "--verbose", is_flag=True, help="Metadata and tensors too.")
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's own record.")
def command(model: str, part: str | None, verbose: bool, as_json: bool) -> None:
    """Show what is known about a model.

    \b
      ktd show demo
      ktd show demo --template
      ktd show demo -v                     with metadata and every tensor
    """

    async def show(client: Client) -> None:
        try:
            record = await client.show(model, verbose=verbose)
        except NotFound:
            raise CliError(f"model '{model}' not found") from None  # the daemon names the tag too, as Ollama does
        if as_json:
            return say(json.dumps(record, indent=2, ensure_ascii=False))
        if part is None:
            return say(description.whole(record, verbose=verbose))
        if not record.get(part):
            raise CliError(f"'{model}' has no {part}")
        say(record[part])

    session.run(show)
