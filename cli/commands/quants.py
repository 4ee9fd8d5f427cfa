import json
from urllib.parse import urlencode

import click

from ktd.cli import human, session
from ktd.cli.client import Client, Record
from ktd.cli.screen import say

HEADER = ("QUANT", "SIZE", "BITS", "FILES", "MEMORY", "FITS")
FITS = {"fits": "yes", "streams": "slowly, from disk"}


@click.command("quants")
@click.argument("repo")
@click.option("--source", type=click.Choice(("huggingface", "hf", "modelscope", "ms")), help="Ask this hub only.")
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's own records.")
def command(repo: str, source: str | None, as_json: bool) -> None:
    """Show the quants of a repository: size, bits per weight, and whether this machine has the memory.

    \b
      ktd quants unsloth/DeepSeek-R1-GGUF
      ktd quants modelscope.cn/unsloth/DeepSeek-V3-0324-GGUF
    """

    async def show(client: Client) -> None:
        asked = {"model": repo} | ({"source": source} if source else {})
        found = await client.request("GET", f"/api/quants?{urlencode(asked)}")
        if as_json:
            return say(json.dumps(found, indent=2))
        say(human.table(HEADER, [row(quant) for quant in found["quants"]]))
        say(f"\nThis machine has {machine(found['machine'])}.")

    session.run(show)


def row(quant: Record) -> tuple[str, ...]:
    bits = f"{quant['bits']:.2f}" if quant["bits"] else ""
    fits = FITS.get(quant["verdict"], "no") if quant["complete"] else "shards missing"
    return (
        quant["quant"],
        human.size(quant["size"]),
        bits,
        str(len(quant["files"])),
        human.size(quant["needed"]),
        fits,
    )


def machine(free: Record) -> str:
    ram = f"{human.size(free['ram'])} of RAM available"
    if not free["cards"]:
        return f"{ram} and no GPU"
    gpus = f"{free['cards']} GPU{'s' * (free['cards'] > 1)}"
    return f"{ram}, and {human.size(free['vram'])} of VRAM on {gpus}, used with --devices"
