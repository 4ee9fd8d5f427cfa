"""`ktd serve`: the one command that runs ktd itself; the others talk to it over HTTP."""

import os
import sys

import click

FLAGS = {  # each flag sets the variable of the same meaning, and is parsed and checked as that is
    "host": ("HOST", "ADDRESS", "Listen here: HOST, HOST:PORT or :PORT.  [default: 127.0.0.1:11434]"),
    "home": ("HOME", "FOLDER", "Keep models, logs and keys here.  [default: ~/.ktd]"),
    "keep-alive": (
        "KEEP_ALIVE",
        "TIME",
        "How long an idle model stays in memory: 5m, 24h, 0, -1.  [default: 5m]",
    ),
    "context": ("CONTEXT_LENGTH", "TOKENS", "Context for models that do not say otherwise."),
    "threads": ("THREADS", "N", "CPU threads per model.  [default: every physical core]"),
    "max-loaded": ("MAX_LOADED_MODELS", "N", "Models in memory at once.  [default: 3]"),
    "max-queue": ("MAX_QUEUE", "N", "Requests waiting before new ones get a 503.  [default: 512]"),
    "origins": ("ORIGINS", "LIST", "Web pages that may call the daemon, comma separated."),
}


def settings_flags(command: click.Command) -> click.Command:
    for flag, (variable, metavar, text) in FLAGS.items():
        command.params.append(click.Option([f"--{flag}", variable], metavar=metavar, help=text))
    return command


@settings_flags
@click.command("serve")
@click.option("--until-stdin-closes", is_flag=True, help="End when standard input does; for a parent process.")
def command(until_stdin_closes: bool, **flags: str | None) -> None:
    """Run the daemon in this terminal until Ctrl-C.

    \b
      ktd serve
      ktd serve --host 0.0.0.0:8080 --keep-alive 24h
      KTD_HOME=/big/disk ktd serve

    Ollama clients use http://127.0.0.1:11434, OpenAI clients http://127.0.0.1:11434/v1 with any key.
    A flag wins over KTD_<NAME>, that over OLLAMA_<NAME>. KTD_API_KEY is then wanted of every client; with
    KTD_ADMIN_KEY, only that one may change which models there are.
    """
    from ktd.daemon.main import run
    from ktd.daemon.settings import Settings, SettingsError

    chosen = {f"KTD_{name.upper()}": value for name, value in flags.items() if value is not None}
    try:
        settings = Settings.from_environment(os.environ | chosen)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    sys.exit(run(settings, until_stdin_closes=until_stdin_closes))
