"""`ktd import`: name GGUF files to the daemon, which registers them where they are."""

import os
from pathlib import Path

import click

from ktd.cli import session
from ktd.cli.client import Client, CliError, Record
from ktd.cli.screen import say


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
      ktd import R1-00001-of-00009.gguf    one shard stands for all nine
      ktd import ~/models/DeepSeek-R1/     a folder with one model in it
      ktd import v3.gguf --config DeepSeek-V3/
      ktd import ~/.cache/huggingface/hub/models--unsloth--DeepSeek-R1-GGUF/
      ktd import ~/.ollama/models/manifests/registry.ollama.ai/library/deepseek-r1/671b

    Folders of LM Studio and `modelscope download` work like any other; a manifest in Ollama's store stands for the
    model it names, with its parameters and system prompt. A --config folder holds config.json, tokenizer.json and
    their like; it refines what the GGUF says.
    """
    files = [str(existing(path)) for path in paths]
    bundle = str(existing(config)) if config else None
    session.run(lambda client: send(client, {"paths": files, "config": bundle, "name": name}))


async def send(client: Client, body: Record) -> None:
    """Have the daemon register the files, with a bar while it reads them."""
    from ktd.cli.progress import show

    imported = await show(client.stream("/api/import", body, local=True))
    say(f"imported '{imported['model']}'")


def existing(path: Path) -> Path:
    """Absolute, because the daemon has another working directory. Links are kept: a link's name may tell a shard."""
    absolute = Path(os.path.abspath(path.expanduser()))
    if not (absolute.is_file() or absolute.is_dir()):
        raise CliError(f"{absolute} is {'no file and no folder' if absolute.exists() else 'not there'}")
    return absolute
