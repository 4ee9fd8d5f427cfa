"""How fast a daemon starts and lists its models, with few and with many of them.

    python -P tests/bench/registry.py --models 200 1000

A real `ktd serve`, its models copies of the demo under other names. Milliseconds by the clock, and of processor time
where one process did the work, which a busy machine leaves nearly alone.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from command_line import KTD, environment

from ktd.cli.client import Client
from ktd.registry.store import Registry

IMPORTS = "import ktd.daemon.main, ktd.daemon.choices"
TICK = 1e3 / os.sysconf("SC_CLK_TCK")  # milliseconds


def filled(home: Path, models: int) -> None:
    with Registry.open(home) as registry:
        registry.ensure_demo()
        for number in range(models - 1):
            registry.copy("demo", f"user/model-{number}:q4_k_m")


@contextmanager
def serving(home: Path) -> Iterator[tuple[str, int]]:
    """The URL of a daemon that has answered once, and its process."""
    command = subprocess.Popen([*KTD, "serve"], env=environment(home, "127.0.0.1:0"), stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    line = next(line for line in command.stdout if "listens on" in line)
    url = line.split(" on ")[1].split()[0]
    urllib.request.urlopen(f"{url}/api/version").close()
    try:
        yield url, command.pid
    finally:
        command.terminate()
        command.communicate()


def processor(pid: int) -> float:
    """Milliseconds of processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def print_row(what: str, clock: list[float], processor: list[float] | None = None) -> None:
    print(f"  {what:50} median {statistics.median(clock):7.1f}  least {min(clock):7.1f}", end="")
    print(f"  processor {statistics.median(processor):7.1f}" if processor else "", flush=True)


def measured(work: Callable[[], object], times: int, used: Callable[[], float]) -> tuple[list[float], list[float]]:
    clock, spent = [], []
    for _ in range(times):
        began, before = time.perf_counter(), used()
        work()
        clock.append((time.perf_counter() - began) * 1e3)
        spent.append(used() - before)
    return clock, spent


def own() -> float:
    return time.process_time() * 1e3


def children() -> float:
    times = os.times()
    return (times.children_user + times.children_system) * 1e3


def start(home: Path, times: int) -> None:
    def opened() -> None:
        with Registry.open(home) as registry:
            registry.ensure_demo()

    clock, spent = [], []
    for _ in range(times):
        began = time.perf_counter()
        with serving(home) as (_, pid):
            clock.append((time.perf_counter() - began) * 1e3)
            spent.append(processor(pid))
    print_row("process start to first answer", clock, spent)
    imports = [sys.executable, "-P", "-c", IMPORTS]
    print_row("  of it Python and the imports", *measured(lambda: subprocess.run(imports, check=True), times, children))
    opened()
    print_row("  of it the registry", *measured(opened, times, own))


def listed(home: Path, times: int) -> None:
    with serving(home) as (url, pid):

        def tags() -> None:
            urllib.request.urlopen(f"{url}/api/tags").read()

        async def asked() -> list[float]:
            async with Client(url, home) as client:
                found = []
                for _ in range(times + 1):
                    began = time.perf_counter()
                    await client.models("/api/tags")
                    found.append((time.perf_counter() - began) * 1e3)
                return found[1:]

        tags()
        print_row("GET /api/tags", *measured(tags, 5 * times, lambda: processor(pid)))
        print_row("the same in the client of `ktd list`", asyncio.run(asked()))
        command = [*KTD, "list"]
        env = environment(home, url)
        run = measured(lambda: subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL), times, children)
        print_row("`ktd list`, the whole command", *run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--times", type=int, default=10)
    arguments = parser.parse_args()
    for models in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            filled(home, models)
            print(f"{models} models:")
            start(home, arguments.times)
            listed(home, arguments.times)


if __name__ == "__main__":
    main()
