"""`ktd serve`: the one command that runs ktd itself; the others talk to it over HTTP."""

import gc
import os
import sys

import click

from ktd.cli.screen import say

# Each flag sets the variable of its name, and is parsed and checked as that is.
FLAGS = {
    "HOST": ("ADDRESS", "Listen here: HOST, HOST:PORT or :PORT.  [default: 127.0.0.1:11434]"),
    "PORT": ("N", "Listen on this port; 0 is any free one."),
    "HOME": ("FOLDER", "Keep models, logs and keys here.  [default: ~/.ktd]"),
    "KEEP_ALIVE": ("TIME", "How long an idle model stays in memory: 5m, 24h, 0, -1.  [default: 5m]"),
    "LOAD_TIMEOUT": ("TIME", "How long loading may stand still before it is given up; 0: any time.  [default: 5m]"),
    "CONTEXT_LENGTH": ("TOKENS", "Context of requests that do not say otherwise.  [default: 32768, as memory allows]"),
    "CACHE_TOKENS": ("TOKENS", "KV cache that the requests of a model share.  [default: as memory allows]"),
    "KV_CACHE_TYPE": ("TYPE", "Numbers that the KV cache keeps: f32, f16, bf16 or q8_0.  [default: f16]"),
    "STEP_TOKENS": ("TOKENS", "Most tokens that a model computes in one step.  [default: 512 to 2048, by its speed]"),
    "NUM_PARALLEL": ("N", "Most requests that a model answers at once.  [default: as many as the cache holds]"),
    "MAX_NEW_TOKENS": ("TOKENS", "Most tokens of any answer."),
    "DRAFTING": ("N", "Answers at once for which tokens are guessed, by a NextN block; 0: never.  [default: 1]"),
    "LOOKUP": ("N", "Guess so many tokens where an answer repeats its text, as edited code does.  [default: 0]"),
    "THREADS": ("N", "CPU threads per model.  [default: every physical core]"),
    "DEVICES": ("LIST", "Where models go: cpu, auto for all GPUs too, or GPUs as cuda:0,cuda:1.  [default: cpu]"),
    "GPU_EXPERTS": ("auto|N|SIZE", "Routed experts on GPUs: what fits, of N layers, or 20GB.  [default: auto]"),
    "RULES": ("FILE", "YAML that says which tensors go to which device; KTransformers' files too."),
    "MAX_LOADED_MODELS": ("N", "Models in memory at once.  [default: 3]"),
    "MAX_QUEUE": ("N", "Requests waiting or running before new ones get a 503.  [default: 512]"),
    "MAX_CONNECTIONS": ("N", "Connections of clients before new ones are closed.  [default: 1024]"),
    "DROP_TOOLS": ("true|false", "Answer without tools where a model calls none, in place of a 400.  [default: false]"),
    "ORIGINS": ("LIST", "Web pages that may call the daemon, comma separated."),
    "ALLOWED_HOSTS": ("LIST", "Names by which clients may call this machine, comma separated."),
    "API_KEY": ("KEY", "Wanted of every client. Better in the variable or file: others can see flags."),
    "ADMIN_KEY": ("KEY", "Wanted of who changes which models there are."),
    "TLS_CERT": ("FILE", "Serve https with this certificate and its chain (PEM)."),
    "TLS_KEY": ("FILE", "The certificate's private key, if its own file has none."),
    "ACCESS_LOG": ("FILE", "Write a line of JSON about each request; - is standard error."),
    "DATABASE_URL": ("URL", "PostgreSQL in place of the SQLite file in the home."),
    "PULL_CONNECTIONS": ("N", "Connections that fetch at once, of all pulls together.  [default: 4]"),
    "PULL_RATE": ("BYTES", "Most bytes a second of all pulls together: 500K, 20M."),
    "GGUF_PATH": ("PATH", "Register this GGUF file or folder of shards at start, load it, and keep it in memory."),
    "MODEL_PATH": ("FOLDER", "The original repository's configuration of the model in --gguf-path."),
}
KTRANSFORMERS = {  # its names for the same; those of one word are the same anyway
    "CACHE_TOKENS": "cache_lens",
    "STEP_TOKENS": "chunk_size",
    "NUM_PARALLEL": "max_batch_size",
    "MAX_NEW_TOKENS": "max_new_tokens",
    "RULES": "optimize_config_path",
    "GGUF_PATH": "gguf_path",
    "MODEL_PATH": "model_path",
}
ONE_AT_A_TIME = "ktransformers"
BACKENDS = ("balance_serve", ONE_AT_A_TIME)


def settings_flags(command: click.Command) -> click.Command:
    for variable, (metavar, text) in FLAGS.items():
        names = [flag(variable), *([f"--{KTRANSFORMERS[variable]}"] if variable in KTRANSFORMERS else [])]
        command.params.append(click.Option([*names, variable], metavar=metavar, help=text))
    return command


def flag(variable: str) -> str:
    return "--" + variable.lower().replace("_", "-")


@settings_flags
@click.command("serve")
@click.option("--config", metavar="FILE", help="Settings in TOML.  [default: config.toml in the home, if it is there]")
@click.option(
    "--backend_type",
    "backend",
    type=click.Choice(BACKENDS),
    help=f"KTransformers' flag: {ONE_AT_A_TIME} answers one request at a time.",
)
@click.option("--until-stdin-closes", is_flag=True, help="End when standard input does; for a parent process.")
def command(config: str | None, backend: str | None, until_stdin_closes: bool, **flags: str | None) -> None:
    """Run the daemon in this terminal until Ctrl-C.

    \b
      ktd serve
      ktd serve --host 0.0.0.0:8080 --keep-alive 24h
      KTD_HOME=/big/disk ktd serve
      ktd serve --host 0.0.0.0 --tls-cert box.pem --tls-key box.key

    Ollama clients use http://127.0.0.1:11434, OpenAI clients http://127.0.0.1:11434/v1 with any key.

    Every setting has three more names: --keep-alive is KTD_KEEP_ALIVE, then OLLAMA_KEEP_ALIVE where Ollama means the
    same, then keep-alive = "24h" in the TOML file. The first that is set counts; what is set is printed at start.

    The launch line of KTransformers' server works behind `ktd serve`:

    \b
      ktd serve --port 10002 --model_path DeepSeek-R1 --gguf_path DeepSeek-R1-GGUF --max_new_tokens 1024 \\
        --cache_lens 32768 --chunk_size 256 --max_batch_size 4 --backend_type balance_serve
    """
    gc.disable()  # imports make what stays: looking through it for garbage would take a sixth of the start
    from ktd.daemon.choices import CONFIG_VARIABLE, choose, key
    from ktd.daemon.main import run
    from ktd.daemon.settings import SettingsError

    gc.freeze()
    gc.enable()
    if backend == ONE_AT_A_TIME:
        flags["NUM_PARALLEL"] = flags["NUM_PARALLEL"] or "1"
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        chosen = choose(os.environ | ({CONFIG_VARIABLE: config} if config else {}), given)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    for choice in chosen.choices:
        say(f"{key(choice.row)} = {choice.shown}  (from {choice.origin})")
    if chosen.settings.rules and chosen.settings.devices == "cpu":
        say("the rules choose among devices, and --devices names the CPU alone: all of a model goes there")
    sys.exit(run(chosen.settings, until_stdin_closes=until_stdin_closes))
