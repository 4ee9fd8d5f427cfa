"""`ktd import`: name GGUF files to the daemon, which registers them where they are."""

import os
import re
from pathlib import Path

import click

from ktd.cli import session
from ktd.cli.client import Client, CliError, Record

MAGIC = b"GGUF"
SHARD = re.compile(r"(?P<stem>.*)-(?P<index>\d{5})-of-(?P<total>\d{5})\.gguf", re.IGNORECASE)


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Name of the model.  [default: from the file name]")
@click.option(
    "--config",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The original repository's configuration.",
)
def command(paths: tuple[Path, ...], name: str | None, config: Path | None) -> None:
    """Add a model from GGUF files, which stay where they are: nothing is copied.

    \b
      ktd import ~/models/DeepSeek-R1-Q4_K_M.gguf --name r1
      ktd import R1-00001-of-00009.gguf    one shard names all nine
      ktd import v3.gguf --config DeepSeek-V3/

    A --config folder holds config.json, tokenizer.json and their like; it refines what the GGUF says.
    """
    files = list(dict.fromkeys(str(file) for path in paths for file in shards(absolute(path))))
    for file in files:
        check(Path(file))
    body: Record = {"paths": files, "config": str(folder(config)) if config else None, "name": name}
    session.run(lambda client: send(client, body))


async def send(client: Client, body: Record) -> None:
    """Have the daemon register the files, with a bar while it reads them."""
    from ktd.cli.progress import show

    imported = await show(client.stream("/api/import", body, local=True))
    click.echo(f"imported '{imported['model']}'")


def absolute(path: Path) -> Path:
    """The daemon has another working directory. Links are kept: shards are told apart by their names."""
    return Path(os.path.abspath(path.expanduser()))


def shards(path: Path) -> list[Path]:
    """All parts of a split model when `path` is one of them, in order."""
    match = SHARD.fullmatch(path.name)
    if not match:
        return [path]
    total = int(match["total"])
    parts = [path.with_name(f"{match['stem']}-{part:05}-of-{total:05}.gguf") for part in range(1, total + 1)]
    missing = [part.name for part in parts if not part.exists()]
    if missing:
        raise CliError(f"{path.name} is one of {total} shards; not beside it: {', '.join(missing)}")
    return parts


def check(path: Path) -> None:
    try:
        if not path.is_file():
            raise CliError(f"{path} is {'not a regular file' if path.exists() else 'not there'}")
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}") from None
    if magic != MAGIC:
        raise CliError(f"{path} is not a GGUF file: it begins with {magic!r}")


def folder(path: Path) -> Path:
    if not path.is_dir():
        raise CliError(f"--config {path} is not a folder")
    return absolute(path)
