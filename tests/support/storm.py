"""Many clients at once, who often leave in the middle, and what became of each."""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

QUESTIONS = [f"What is {a} + {b}?" for a, b in ((12, 30), (7, 5), (40, 2), (23, 54), (81, 9), (66, 13))]
LEAVES = 0.5  # how many of the answers are broken off
BUSY = 503
CONTEXT = 2048  # of the demo model; with a KV cache of just one, a single lost page is missed


@dataclass
class Tally:
    """`wrong` are texts that are not what the model says when it is asked alone: lost, doubled, or another's."""

    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    pieces: int = 0


class Storm:
    """Asks the daemon at `url`. `learn` first: every answer is compared with the one that was given in quiet."""

    def __init__(self, url: str, model: str = "demo") -> None:
        self._url = url
        self._model = model
        self._expected: dict[str, str] = {}
        self.tally = Tally()

    async def learn(self) -> None:
        async with aiohttp.ClientSession() as http:
            for question in QUESTIONS:
                self._expected[question] = await self._ask(http, question, None)

    async def rage(self, streams: int, seconds: float, seed: int = 0) -> Tally:
        """So many clients, each asking again and again for so long."""
        self.tally, end = Tally(), time.monotonic() + seconds
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            clients = (self._client(http, random.Random(seed + number), end) for number in range(streams))
            await asyncio.gather(*clients)
        return self.tally

    async def _client(self, http: aiohttp.ClientSession, chance: random.Random, end: float) -> None:
        while time.monotonic() < end:
            question = chance.choice(QUESTIONS)
            leaves_after = chance.randrange(20) if chance.random() < LEAVES else None
            try:
                said = await self._ask(http, question, leaves_after)
            except aiohttp.ClientResponseError as error:
                self.tally.ends["busy" if error.status == BUSY else f"HTTP {error.status}"] += 1
                await asyncio.sleep(0.05)
                continue
            except (aiohttp.ClientError, RuntimeError) as error:
                self.tally.ends[f"{type(error).__name__}: {error}"] += 1
                continue
            expected = self._expected[question]
            if not (expected == said if leaves_after is None else expected.startswith(said)):
                self.tally.wrong.append((expected, said))
            self.tally.ends["whole" if leaves_after is None else "left"] += 1

    async def _ask(self, http: aiohttp.ClientSession, question: str, leaves_after: int | None) -> str:
        """Thought and answer; only the first pieces for one who leaves."""
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": question}],
            "options": {"temperature": 0},
        }
        said, count, done = "", 0, False
        async with http.post(f"{self._url}/api/chat", json=body) as reply:
            reply.raise_for_status()
            async for line in reply.content:
                record = json.loads(line)
                if "error" in record:
                    raise RuntimeError(record["error"])
                said += record["message"].get("thinking", "") + record["message"]["content"]
                self.tally.pieces += 1
                count, done = count + 1, record["done"]
                if leaves_after is not None and count > leaves_after:
                    reply.close()
                    return said
        if not done:
            raise RuntimeError("the answer has no end")
        return said


async def fills_the_cache(url: str) -> bool:
    """Whether a prompt can be read that needs every page of the KV cache: it would wait for one that was lost."""
    tokens = [5, 6] * ((CONTEXT - 64) // 2)  # the template adds some more
    body = {"model": "demo", "context": tokens, "prompt": " ", "stream": False, "options": {"num_predict": 1}}
    async with (
        asyncio.timeout(60),
        aiohttp.ClientSession() as http,
        http.post(f"{url}/api/generate", json=body) as reply,
    ):
        record = await reply.json()
    return bool(record["prompt_eval_count"] > CONTEXT - 64)


def resident_bytes(pid: int | str) -> int:
    """Memory of a process that is its own, not a file's."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1024


def descriptors(pid: int | str) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
