"""`ktd`: the table of commands. A command's module is imported only when it runs, so that help is instant."""

import importlib
import io
import keyword
import sys

import click
from click.shell_completion import CompletionItem

from ktd import __version__

COMMANDS = {
    "run": "Chat with a model, or answer one prompt",
    "serve": "Run the daemon",
    "list": "Models on this machine",
    "ps": "Models in memory",
    "show": "What is known about a model",
    "stop": "Take a model out of memory",
    "pull": "Fetch a model from Hugging Face or ModelScope",
    "downloads": "Unfinished downloads: list, pause, resume, cancel",
    "search": "Find models at the hubs",
    "quants": "Show which quants a repository has, and which fit here",
    "import": "Add a model from GGUF files, in place",
    "create": "Make a model from a Modelfile",
    "cp": "Give a model a second name",
    "rm": "Remove models",
    "verify": "Check files against their digests, and repair them",
    "prune": "Remove files that no model uses",
    "push": "How to bring a model to a hub",
    "doctor": "Look at the machine, the daemon and the models",
    "bench": "Measure prefill and decode speed",
}
ALIASES = {"ls": "list", "start": "serve"}


class CommandTable(click.Group):
    """The commands above, in that order; each lives in its own module under `ktd.cli.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        module = name + "_" if keyword.iskeyword(name) else name
        command: click.Command = importlib.import_module(f"ktd.cli.commands.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        rows = COMMANDS.items()
        return [CompletionItem(name, help=text) for name, text in rows if name.startswith(incomplete)]


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-v", "--version", message="ktd version is %(version)s")
def main() -> None:
    """Large mixture-of-experts models on your own machine.

    \b
    Start here:
      ktd run demo                         a tiny model that comes with ktd
      ktd import ~/models/r1.gguf          add a model of yours
      ktd run r1 "Why is the sky blue?"    one answer, then back to the shell
      ktd serve                            the daemon, for Ollama and OpenAI clients

    The daemon listens at http://127.0.0.1:11434; KTD_HOST (or OLLAMA_HOST) names another address. Models,
    logs and history are kept in KTD_HOME, by default ~/.ktd.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an old locale must not end an answer at its first Chinese word
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
