"""A registry with its pulls, fed by the hub on loopback."""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from fake_hub import FakeHub, Repo
from gguf_writer import RawTensor, small_model, write_shards

from ktd.registry.fit import Machine
from ktd.registry.names import ModelName
from ktd.registry.news import Arrived
from ktd.registry.pulls.journal import Request
from ktd.registry.pulls.limits import Limits
from ktd.registry.pulls.pulls import Event, Pulls
from ktd.registry.pulls.stage import Stage
from ktd.registry.record import ModelRecord
from ktd.registry.sources.hubs import Hubs
from ktd.registry.store import Registry
from ktd.registry.supported import Supported

MODEL = "unsloth/DeepSeek-R1-GGUF:IQ1_S"
STEM = "DeepSeek-R1-UD-IQ1_S"
GB = 10**9


def r1(folder: Path) -> Repo:
    """R1's layout in small: three shards in a folder named like them, a card that names its base."""
    files = {f"{STEM}/{path.name}": path.read_bytes() for path in write_shards(folder / "shards", 3, STEM)}
    return Repo(files | {"README.md": b"# card"}, base=["deepseek-ai/DeepSeek-R1"])


def big(name: str = "Big-Q8_0.gguf", mib: int = 4) -> Repo:
    """One file with so much weight that faults can hit its middle."""
    data = hashlib.shake_256(name.encode()).digest(mib << 20)
    return Repo({name: small_model().tensor(RawTensor("blk.0.big.weight", (mib << 18,), data=data)).build()})


BASE = Repo({"config.json": b'{"hidden_size": 32}', "model.safetensors": b"weights", "modeling.py": b"exit()"})


class Pulling:
    """Pulls into `home` from `hub`."""

    def __init__(self, home: Path, hub: FakeHub, environ: dict[str, str] | None = None, **limits: object) -> None:
        self.hub = hub
        self.stage = Stage(home)
        self.registry = Registry.open(home, supported=Supported({"deepseek2"}, {"deepseek-v3"}))
        variables = {"HF_ENDPOINT": hub.url, "MODELSCOPE_ENDPOINT": hub.url, "HF_TOKEN": "secret"} | (environ or {})
        self.pulls = Pulls(
            self.registry,
            Hubs(home, variables),
            lambda: Machine(GB, 24 * GB, 1),
            Limits(**({"first_wait": 0.01, "attempts": 3} | limits)),
        )

    def __enter__(self) -> "Pulling":
        return self

    def __exit__(self, *_: object) -> None:
        self.pulls.close()
        self.registry.close()

    async def events(self, name: str = MODEL, **request: object) -> list[Event]:
        return [event async for event in self.pulls.follow(Request(ModelName.parse(name), **request))]

    async def pull(self, name: str = MODEL, **request: object) -> ModelRecord:
        last = (await self.events(name, **request))[-1]
        assert isinstance(last, ModelRecord)
        return last

    async def leave_when(self, found: Callable[[Event], bool], name: str = MODEL) -> None:
        """Follow until an event, then go away."""
        async with aclosing(self.pulls.follow(Request(ModelName.parse(name)))) as events:
            async for event in events:
                if found(event):
                    return

    def partials(self) -> dict[str, int]:
        """Sizes of the partial files by digest."""
        folder = self.registry.home / "downloads"
        return {path.stem: path.stat().st_size for path in folder.glob("*.part")}


def received(count: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Arrived) and event.received >= count


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)
