"""`ktd bench`: the engine's own benchmark, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import click

from ktd.cli import session
from ktd.cli.client import Client


@click.command("bench")
@click.argument("model", metavar="MODEL_OR_FILE")
@click.option("--prompt", "--prefill", "prompt", type=click.IntRange(0), metavar="N", help="Tokens to read; 0: none.")
@click.option(
    "--generate", "--decode", "generate", type=click.IntRange(0), metavar="N", help="Tokens to write; 0: none."
)
@click.option("--ctx", metavar="N,..", help="Contexts before them, in tokens.  [default: 0]")
@click.option("--batch", metavar="N,..", help="Answers that are written at once.  [default: 1]")
@click.option(
    "--cache-type", type=click.Choice(["f32", "f16", "bf16", "q8_0"]), help="Of the KV cache.  [default: f16]"
)
@click.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads.  [default: every physical core]")
@click.option("--repeat", type=click.IntRange(1), metavar="N", help="How often each is measured.")
@click.option("--json", "json", is_flag=True, flag_value=True, help="Print the measurements as JSON.")
def command(model: str, **options: int | str | bool | None) -> None:
    """Measure prefill and decode speed on this machine.

    \b
      ktd bench demo
      ktd bench ~/models/r1-00001-of-00009.gguf --threads 16   one shard stands for all
      ktd bench demo --prompt 512 --generate 128 --repeat 5 --json
      ktd bench demo --prefill 0 --ctx 0,1024 --batch 1,2,4,8  decode behind contexts, in several answers at once

    The model is loaded in a process of its own; a busy daemon beside it makes the figures worse.
    """
    files: list[str] = []
    if Path(model).is_file():
        files.append(model)
    else:
        session.run(lambda client: ask(client, model, files))
    flags = [word for name, value in options.items() for word in flag(name, value)]
    sys.exit(measure([*flags, *files]))


def measure(words: list[str]) -> int:
    """Run the engine's benchmark; returns its exit status."""
    engine = subprocess.Popen([sys.executable, "-P", "-m", "ktd.engine.bench", *words])
    try:
        return engine.wait()
    except KeyboardInterrupt:  # the engine has been told by the terminal as well
        engine.wait()
        return session.STOPPED


async def ask(client: Client, model: str, files: list[str]) -> None:
    """Have the daemon say where the files of a registered model are."""
    files += await client.files(model)


def flag(name: str, value: int | str | bool | None) -> list[str]:
    if value is None or value is False:
        return []
    word = "--" + name.replace("_", "-")
    return [word] if value is True else [word, str(value)]
