"""Many streams at once for a minute, half of them broken off: what became of each, and what is left over.

    python -P tests/bench/storm.py --streams 64 --seconds 60

A daemon of its own with the demo model and a KV cache of one context, greedy answers, each compared with what the
model says when asked alone. The first tenth of the time is not counted: pools and caches come to their size in it.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from daemon_process import DaemonProcess
from storm import CONTEXT, Storm, descriptors, fills_the_cache, resident_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--max-queue", default="512", help="requests before the daemon answers 503")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        daemon = DaemonProcess(Path(home), KTD_MAX_QUEUE=options.max_queue, KTD_CACHE_TOKENS=str(CONTEXT))
        try:
            asyncio.run(measure(daemon, options.streams, options.seconds))
        finally:
            daemon.process.terminate()
            daemon.end()


async def measure(daemon: DaemonProcess, streams: int, seconds: float) -> None:
    url = daemon.url()
    storm = Storm(url)
    await storm.learn()
    await storm.rage(streams, seconds / 10)
    processes = {"daemon": daemon.process.pid, "worker": daemon.workers()[0]}
    before = {name: sizes(pid) for name, pid in processes.items()}
    tally = await storm.rage(streams, seconds, seed=streams)
    await asyncio.sleep(1)
    print(f"{streams} streams, {seconds:g} s: {dict(tally.ends)}, {len(tally.wrong)} wrong")
    print(f"{tally.pieces / seconds:.0f} pieces a second")
    for name, pid in processes.items():
        (memory, files), (memory_now, files_now) = before[name], sizes(pid)
        print(f"{name}: {memory / 1e6:.1f} -> {memory_now / 1e6:.1f} MB, {files} -> {files_now} descriptors")
    print(f"KV cache: {'every page is free' if await fills_the_cache(url) else 'pages are lost'}")


def sizes(pid: int) -> tuple[int, int]:
    return resident_bytes(pid), descriptors(pid)


if __name__ == "__main__":
    main()
