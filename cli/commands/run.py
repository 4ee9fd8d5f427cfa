"""`ktd run`: one answer, or a conversation."""

import sys

import click

from ktd.cli import session
from ktd.cli.answer import Style
from ktd.cli.chat import THINK, Chat, wanted_format
from ktd.cli.client import Client, NotFound
from ktd.cli.embedding import Embedding
from ktd.cli.screen import say

DEMO = {"demo", "demo:latest"}
TRUNCATE_HELP = "Embed the beginning of a text that is too long, or refuse it.  [default: true]"
THINK_HELP = "Think first: true, false, low, medium, high or max.  [default: as the model does]"


class Run(click.Command):
    """`--think` and `--truncate` take values only after `=`, as in Ollama, so that a prompt can follow them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        options = [f"{word}=true" if word in ("--think", "--truncate") else word for word in args[:end]]
        return super().parse_args(ctx, options + args[end:])


@click.command("run", cls=Run)
@click.argument("model")
@click.argument("prompt", nargs=-1)
@click.option("--verbose", is_flag=True, help="Print timings after each answer.")
@click.option("--hidethinking", is_flag=True, help="Do not show the model's thinking.")
@click.option("--think", type=click.Choice(list(THINK)), metavar="[=LEVEL]", help=THINK_HELP)
@click.option("--format", "answer_format", metavar="FORMAT", help="json, a JSON schema, or the file of one.")
@click.option("--keepalive", metavar="TIME", help="How long the model stays in memory after: 5m, 24h, 0, -1.")
@click.option("--nowordwrap", is_flag=True, help="Break lines anywhere, not at words.")
@click.option("--dimensions", type=click.IntRange(min=1), metavar="N", help="Of a vector: as many of its numbers.")
@click.option("--truncate", type=click.BOOL, metavar="[=BOOL]", help=TRUNCATE_HELP)
def command(
    model: str,
    prompt: tuple[str, ...],
    verbose: bool,
    hidethinking: bool,
    think: str | None,
    answer_format: str | None,
    keepalive: str | None,
    nowordwrap: bool,
    dimensions: int | None,
    truncate: bool | None,
) -> None:
    """Chat with a model, or answer one prompt.

    \b
      ktd run demo                         a conversation; /? in it helps
      ktd run demo "What is 12 + 30?"      one answer
      ktd run r1 "Sum this up" < notes.md  the file goes before the prompt
      ktd run r1 --think=false --verbose "Name three rivers."
      ktd run r1 --format person.schema.json "Who wrote Faust?"
      ktd run nomic-embed-text "A text"    the vector of a model that embeds, as JSON

    Without a prompt and without a terminal the model is only loaded. When no daemon answers, one is started
    for the length of this command.
    """
    style = Style(hide_thinking=hidethinking, word_wrap=not nowordwrap, verbose=verbose)
    chat = Chat(model, style, think=None if think is None else THINK[think], keep_alive=keepalive)
    try:
        chat.format = None if answer_format is None else wanted_format(answer_format)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--format") from None
    question = "\n".join(part for part in (piped(), " ".join(prompt)) if part)
    interactive = not prompt and sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    embedding = Embedding(model, keepalive, dimensions, truncate)

    async def talk(client: Client) -> None:
        if await find(client, model) == ["embedding"]:
            await embedding.show(client, question)
        else:
            await (converse(client, chat) if interactive else answer(client, chat, question))

    session.run(talk)


def piped() -> str:
    """What another program wrote into this one; a terminal is not read."""
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    return sys.stdin.buffer.read().decode(errors="replace").rstrip("\n")


async def answer(client: Client, chat: Chat, question: str) -> None:
    await (chat.say(client, question) if question else chat.load(client))


async def converse(client: Client, chat: Chat) -> None:
    from ktd.cli.repl import Repl

    await Repl(client, chat).run()


async def find(client: Client, model: str) -> list[str]:
    """What the model can; an unknown one is refused before anything is loaded, and the demo of ktd is made again."""
    try:
        return list((await client.show(model)).get("capabilities") or [])
    except NotFound as error:
        if model.strip().lower() not in DEMO:
            raise NotFound(
                404, f"{error.message}; `ktd list` shows what there is, `ktd pull` and `ktd import` add to it"
            ) from None
        await restore_demo(client)
        return []


async def restore_demo(client: Client) -> None:
    from ktd.cli.progress import show

    await show(client.stream("/api/import", {"demo": True}, local=True))
    say("the demo model had been removed: it is back", err=True)
