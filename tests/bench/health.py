"""How soon the daemon says that it is there, while it is busy: loading a model, and reading long prompts.

    python -P tests/bench/health.py --seconds 10

Asks /, /api/version, /api/tags and /api/ps in turn, ten times a second each, of a daemon in quiet, of one that loads
and unloads the demo model again and again, and of one that reads prompts as long as its context. Milliseconds.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from daemon_process import DaemonProcess

PATHS = ("/", "/api/version", "/api/tags", "/api/ps")
PAUSE = 0.1 / len(PATHS)
TOKENS = list(range(3, 1900))  # of a prompt of the demo model, whose context is 2048
READERS = 8


async def main_of(url: str, seconds: float) -> None:
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as http:
        await load(http)
        for name, work in {"in quiet": rest, "loading": reload, "reading": read}.items():
            working = asyncio.create_task(work(http))
            times = await asked(http, seconds)
            working.cancel()
            await asyncio.wait([working])
            for path, found in times.items():
                ordered = sorted(found)
                print(f"{name:9} {path:13}", end="")
                print(
                    f"median {statistics.median(ordered):6.2f}  99 % {ordered[len(ordered) * 99 // 100]:6.2f}", end=""
                )
                print(f"  longest {ordered[-1]:6.2f}")


async def asked(http: aiohttp.ClientSession, seconds: float) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {path: [] for path in PATHS}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for path, found in times.items():
            began = time.perf_counter()
            async with http.get(path) as reply:
                await reply.read()
            found.append((time.perf_counter() - began) * 1e3)
            await asyncio.sleep(PAUSE)
    return times


async def rest(http: aiohttp.ClientSession) -> None:
    await asyncio.sleep(3600)


async def reload(http: aiohttp.ClientSession) -> None:
    while True:
        await load(http, keep_alive=0)
        await load(http)


async def read(http: aiohttp.ClientSession) -> None:
    """Prompts without a common beginning, so that all of each is read."""

    async def one(number: int) -> None:
        while True:
            number += READERS
            body = {"model": "demo", "prompt": " ", "context": [3 + number % 900, *TOKENS], "stream": False}
            async with http.post("/api/generate", json=body | {"options": {"num_predict": 1}}) as reply:
                await reply.read()

    await asyncio.gather(*(one(number) for number in range(READERS)))


async def load(http: aiohttp.ClientSession, **options: object) -> None:
    async with http.post("/api/generate", json={"model": "demo"} | options) as reply:
        await reply.read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as home:
        daemon = DaemonProcess(Path(home))
        try:
            asyncio.run(main_of(daemon.url(), seconds))
        finally:
            daemon.process.terminate()
            daemon.end()


if __name__ == "__main__":
    main()
