import click

from ktd.cli import session
from ktd.cli.client import Client, Record
from ktd.cli.screen import say

SOURCES = ("huggingface", "hf", "modelscope", "ms")


@click.command("pull")
@click.argument("model")
@click.option("--source", type=click.Choice(SOURCES), help="Pull from this hub only.")
@click.option("--revision", metavar="REV", help="A branch, tag or commit of the repository.")
@click.option("--include", metavar="GLOB", multiple=True, help="Only files like this; may be given again.")
@click.option("--exclude", metavar="GLOB", multiple=True, help="No files like this; may be given again.")
@click.option("--token", metavar="TOKEN", help="For private and gated repositories.")
@click.option("--insecure", is_flag=True, hidden=True, help="Taken for Ollama's sake; changes nothing.")
def command(
    model: str,
    source: str | None,
    revision: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    token: str | None,
    insecure: bool,
) -> None:
    """Fetch a model from Hugging Face or ModelScope, whichever answers.

    \b
      ktd pull unsloth/DeepSeek-R1-GGUF:IQ1_S
      ktd pull modelscope.cn/unsloth/DeepSeek-V3-0324-GGUF:Q2_K_XL
      ktd pull unsloth/DeepSeek-R1-GGUF --include '**Q4_K_M**'

    Whatever stops it, the same command goes on from there. The hubs' own variables are heeded by the daemon:
    HF_ENDPOINT, HF_TOKEN, MODELSCOPE_DOMAIN, MODELSCOPE_API_TOKEN, HTTPS_PROXY; KTD_SOURCE names the hub to ask
    first, KTD_PULL_RATE (such as 20M) limits bytes a second, KTD_PULL_CONNECTIONS the connections of all pulls;
    `ktd downloads --rate` changes both while they run.
    """
    asked = {"source": source, "revision": revision, "include": include, "exclude": exclude, "token": token}
    body: Record = {"model": model} | {key: value for key, value in asked.items() if value}

    async def pull(client: Client) -> None:
        from ktd.cli.progress import show

        await show(client.stream("/api/pull", body))
        say("success", err=True)

    session.run(pull)
