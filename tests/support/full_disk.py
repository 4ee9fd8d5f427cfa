"""Pull while the disk fills up: `full_disk.py HUB HOME`, in a mount namespace of its own, where HOME is a tmpfs."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from pulling import Pulling

from ktd.registry.errors import NoSpace
from ktd.registry.names import ModelName
from ktd.registry.news import Arrived
from ktd.registry.pulls.journal import Request

MIB = 1 << 20
NAME = "ns/Big-GGUF:Q8_0"


async def main(url: str, home: Path) -> None:
    hub = SimpleNamespace(url=url)  # the real one is in another process
    filler = home / "filler"
    with Pulling(home, hub) as pulling:
        try:
            async for event in pulling.pulls.follow(Request(ModelName.parse(NAME))):
                if isinstance(event, Arrived) and not filler.exists():
                    with filler.open("wb") as file:
                        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(home).free - 14 * MIB)
        except NoSpace as error:
            assert "is full" in str(error), error
        else:
            raise AssertionError("the disk was not full")
        assert pulling.registry.list() == []
        [(unfinished, here)] = pulling.pulls.unfinished()
        assert unfinished.state == "failed" and "is full" in (unfinished.error or "") and here > 0
        filler.unlink()
        [(digest, size)] = unfinished.files
        with pulling.stage.open(digest, size) as partial:
            assert partial.received == here
            missing = partial.missing
        record = await pulling.pull(NAME)
        print(record.size, *(start for start, _ in missing))


if __name__ == "__main__":
    home = Path(sys.argv[2])
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", home], check=True)
    asyncio.run(main(sys.argv[1], home))
