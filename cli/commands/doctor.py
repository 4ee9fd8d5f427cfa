"""`ktd doctor`: what this machine has, and what of it is in the way."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import click

from ktd.cli import description, human, session, settings
from ktd.cli.client import CliError, Record
from ktd.cli.screen import say

HEADER = ("NAME", "SIZE", "NEEDS", "CONTEXT", "AT MOST", "FITS")


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(as_json: bool) -> None:
    """Look at the machine, the daemon and the models: what there is, what fits, and what is wrong.

    \b
      ktd doctor
      ktd doctor --json | jq .machine.bandwidth

    Decoding reads the weights of each token from memory, so the bandwidth divided by their bytes is the most tokens
    a second that a model can write here. Exit status 1 says that something is wrong.
    """
    findings = asyncio.run(examined())
    say(json.dumps(findings, indent=2) if as_json else told(findings))
    sys.exit(1 if findings["problems"] else 0)


async def examined() -> Record:
    """All findings; `problems` are what hinders."""
    problems: list[str] = []
    daemon, models, files = await reached(problems)
    probe = await probed(files, problems)
    fits = probe.get("models", {})
    return {
        "machine": probe.get("machine", {}),
        "daemon": daemon,
        "disk": disk(settings.home(), problems),
        "models": [{"name": model["name"], "size": model["size"]} | fits.get(model["name"], {}) for model in models],
        "problems": problems,
    }


async def reached(problems: list[str]) -> tuple[Record, list[Record], dict[str, list[str]]]:
    """The daemon, its models, and where the files of each are. Without a daemon one is started for the moment."""
    models: list[Record] = []
    files: dict[str, list[str]] = {}
    daemon: Record = {"url": "", "answers": False}
    try:
        daemon["url"] = settings.base_url()
        async with session.connected(start=True) as client:
            daemon |= {"answers": True} | await client.request("GET", "/api/version")
            models = await client.models("/api/tags")
            for model in models:
                files[model["name"]] = await client.files(model["name"])
    except (CliError, ValueError) as error:
        problems.append(error.format_message() if isinstance(error, CliError) else str(error))
    return daemon, models, files


async def probed(files: dict[str, list[str]], problems: list[str]) -> Record:
    """What the engine says of machine and models, from a process of its own."""
    pipe = asyncio.subprocess.PIPE
    engine = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "ktd.engine.probe"), stdin=pipe, stdout=pipe, stderr=pipe
    )
    out, err = await engine.communicate(json.dumps({"models": files}).encode())
    if engine.returncode:
        problems.append(f"the engine does not run here: {err.decode(errors='replace').strip()}")
        return {}
    found: Record = json.loads(out)
    return found


def disk(home: Path, problems: list[str]) -> Record:
    """The disk that models are kept on."""
    folder = next(path for path in (home, *home.parents) if path.is_dir())
    if not os.access(folder, os.W_OK):
        problems.append(f"{folder} cannot be written")
    usage = shutil.disk_usage(folder)
    return {"home": str(home), "free": usage.free, "total": usage.total}


def told(findings: Record) -> str:
    models = [row(model) for model in findings["models"]]
    problems = [[problem] for problem in findings["problems"]]
    parts = [
        description.group("Machine", machine(findings["machine"])),
        description.group("Daemon", daemon(findings["daemon"], findings["disk"])),
        human.table(HEADER, models) if models else "",
        description.group("Problems", problems),
    ]
    return "\n\n".join(filter(None, parts))


def machine(found: Record) -> list[list[str]]:
    if not found:
        return []
    memory = f"{human.size(found['available'])} of {human.size(found['memory'])} available"
    return [
        ["processor", found["processor"]],
        ["instructions", found["isa"]],
        ["threads", f"{found['threads']} (one for each physical core)"],
        ["memory", memory],
        ["bandwidth", f"{human.size(found['bandwidth'])}/s"],
        *(["GPU", f"{gpu} (not used by this version)"] for gpu in found["gpus"]),
    ]


def daemon(found: Record, disk: Record) -> list[list[str]]:
    state = f"answers, ktd {found['ktd']}" if found["answers"] else "does not answer"
    return [
        ["address", f"{found['url']}  {state}"],
        ["home", disk["home"]],
        ["disk", f"{human.size(disk['free'])} of {human.size(disk['total'])} free"],
    ]


def row(model: Record) -> tuple[str, ...]:
    name, size = model["name"], human.size(model["size"])
    if "needs" not in model or model["problem"]:
        return name, size, "", "", "", f"no: {model['problem']}" if model.get("problem") else "unknown"
    fits = "partly: experts stay on disk" if model["on_disk"] else "yes"
    return name, size, human.size(model["needs"]), str(model["context"]), f"{model['most']:.1f} tokens/s", fits
