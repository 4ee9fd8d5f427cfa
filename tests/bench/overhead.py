"""What the daemon costs over the bare engine: to the first token, and for each token after it.

    python -P tests/bench/overhead.py --rounds 20

Interleaved rounds of the same prompt, each model on one thread: to the engine through its client, and to a daemon over
HTTP; medians. The demo model writes thousands of tokens a second, so that microseconds show; shares are of a token's
time for a model of 100 tokens a second. The daemon's own processor time is told too: a busy machine blurs the other
figures, but not that.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from daemon_process import DaemonProcess  # noqa: E402

from ktd.engine.client import EngineClient, WorkerHandle  # noqa: E402
from ktd.engine.messages import Delta, Load, Prompt, Sampling  # noqa: E402

DEMO = ROOT / "packaging" / "demo" / "model" / "ktd-tiny-q8_0.gguf"
PROMPT = "a b c " * 60
TOKENS = 300
REPEATS = 4
SLOW = 0.010  # seconds for a token of a model of 100 tokens a second
Times = tuple[float, float]  # seconds to the first token, and for each of the others
EVEN = {"temperature": 100.0, "top_k": 0, "top_p": 1.0, "seed": 7}  # any token, so that the end comes late


async def timed(pieces: AsyncIterator[int]) -> Times:
    """`pieces` are the tokens in each piece of an answer."""
    began, first, tokens = time.perf_counter(), 0.0, 0
    async for count in pieces:
        first = first or time.perf_counter()
        tokens += count
    last = time.perf_counter()
    return first - began, (last - first) / max(tokens - 1, 1)


async def bare(worker: WorkerHandle) -> AsyncIterator[int]:
    async for item in worker.generate(Prompt(PROMPT), Sampling(max_tokens=TOKENS, **EVEN)):
        yield item.tokens if isinstance(item, Delta) else 0


async def served(http: aiohttp.ClientSession, url: str, tokens: int = TOKENS) -> AsyncIterator[int]:
    body = {"model": "demo", "prompt": PROMPT, "raw": True, "options": EVEN | {"num_predict": tokens}}
    async with http.post(f"{url}/api/generate", json=body) as reply:
        counted = 0
        async for line in reply.content:
            record = json.loads(line)
            counted += 1
            yield record["eval_count"] - counted + 1 if record["done"] else 1


async def measure(daemon: DaemonProcess, rounds: int) -> None:
    url = daemon.url()
    worker = await EngineClient().load(Load((str(DEMO),), threads=1))
    try:
        async with aiohttp.ClientSession() as http:
            runs: dict[str, Callable[[], Awaitable[Times]]] = {
                "engine": lambda: timed(bare(worker)),
                "daemon": lambda: timed(served(http, url)),
            }
            times: dict[str, list[Times]] = {name: [] for name in runs}
            for number in range(rounds + 1):
                for name, run in runs.items():
                    found = await run()
                    if number:  # the first round fills caches
                        times[name].append(found)
            busy = await processor_time(http, url, daemon.process.pid, rounds)
    finally:
        await worker.close()
    tell(times)
    each = (busy[TOKENS] - busy[1]) / (TOKENS - 1)
    print(f"its processor time: {busy[1] * 1e3:.2f} ms a request, {each * 1e6:.0f} us a token, ", end="")
    print(f"{each / SLOW:.1%} at 100 tokens/s")


async def processor_time(http: aiohttp.ClientSession, url: str, pid: int, rounds: int) -> dict[int, float]:
    """Seconds that the daemon computes for an answer of so many tokens."""
    found = {}
    for tokens in (1, TOKENS):
        before = computed(pid)
        for _ in range(rounds * REPEATS):
            await timed(served(http, url, tokens))
        found[tokens] = (computed(pid) - before) / (rounds * REPEATS)
    return found


def computed(pid: int) -> float:
    """Seconds of processor time, as the scheduler counts them."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) * 1e-9


def tell(times: dict[str, list[Times]]) -> None:
    firsts = {name: statistics.median(first for first, _ in found) for name, found in times.items()}
    nexts = {name: statistics.median(each for _, each in found) for name, found in times.items()}
    for name in times:
        print(f"{name}: first token {firsts[name] * 1e3:.2f} ms, then {1 / nexts[name]:.0f} tokens/s")
    extra = nexts["daemon"] - nexts["engine"]
    print(f"the daemon's part: first token {(firsts['daemon'] - firsts['engine']) * 1e3:.2f} ms, ", end="")
    print(f"then {extra * 1e6:.0f} us a token, {extra / SLOW:.1%} at 100 tokens/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as home:
        daemon = DaemonProcess(Path(home), KTD_THREADS="1")
        try:
            asyncio.run(measure(daemon, rounds))
        finally:
            daemon.process.terminate()
            daemon.end()


if __name__ == "__main__":
    main()
