import os
import re
import secrets
from pathlib import Path

import click

from ktd.cli import session
from ktd.cli.client import Client, CliError, Record
from ktd.cli.screen import say

FROM = re.compile(r"^\s*FROM\s+(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
QUOTED = re.compile(r'""".*?"""', re.DOTALL)  # texts, whatever their lines begin with
PATH = re.compile(r"[/.~]|.*\.gguf$", re.IGNORECASE)


@click.command("create")
@click.argument("model")
@click.option("-f", "--file", "modelfile", metavar="FILE", type=click.Path(path_type=Path), default="Modelfile")
@click.option("-q", "--quantize", metavar="TYPE", help="Make weights smaller: q4_K_M, q5_K_M, q6_K, q8_0 and the like.")
def command(model: str, modelfile: Path, quantize: str | None) -> None:
    """Make a model from a Modelfile: another model, or a GGUF file, with texts and parameters of its own.

    \b
      ktd create pirate -f pirate.Modelfile
      ktd create lite-q4 -q q4_K_M         with FROM ./lite-f16.gguf in ./Modelfile

    A GGUF file that FROM names stays where it is. A model that is not here is pulled.
    """
    try:
        text = modelfile.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"cannot read {modelfile}: {error}") from None
    body: Record = {"model": model, "modelfile": text} | ({"quantize": quantize} if quantize else {})
    session.run(lambda client: make(client, body, files(text, modelfile.parent)))


async def make(client: Client, body: Record, paths: list[str]) -> None:
    from ktd.cli.progress import show

    if not paths:
        await show(client.stream("/api/create", body))
        return say("success", err=True)
    # Under a name for the time being: a model that has the wanted one stays until the new one is whole.
    name = f"create-{secrets.token_hex(8)}"
    await show(client.stream("/api/import", {"paths": paths, "name": name}, local=True))
    try:
        await show(client.stream("/api/create", body | {"from": name}))
    finally:
        await client.request("DELETE", "/api/delete", {"model": name})
    say("success", err=True)


def files(text: str, folder: Path) -> list[str]:
    """The files that FROM lines name, as absolute paths; none when it names a model or an uploaded file."""
    named = [value.strip("\"'") for value in FROM.findall(QUOTED.sub("", text))]
    found = [os.path.abspath(folder / Path(value).expanduser()) for value in named if PATH.match(value)]
    for path in found:
        if not os.path.exists(path):
            raise CliError(f"FROM names {path}, which is not there")
    return found
