"""ktd beside llama.cpp and ik_llama.cpp on the same files: interleaved rounds, medians, ratios.

    python -P tests/bench/peers.py --llama DIR --ik DIR FILE...

DIR holds a peer's `llama-bench` and `llama-batched-bench`, built for this machine (`cmake -DGGML_NATIVE=ON`); leave one
out to do without it. Every round runs each engine once, in its own process, on a machine that should have nothing else
to do. Figures are tokens per second: `pp` reads a prompt, `tg` writes, `tg@N` writes behind N tokens, `tg xN` writes N
answers together (the sum of all), `tg busy` writes while another process keeps one core busy. `load` is seconds until a
first token from a warm file, and the process's largest size. ik_llama.cpp runs with the flags that are best for it:
repacked weights, fused experts, MLA 3, flash attention.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

DEPTH, WRITTEN = 4096, 32
BEST_OF_IK = ("-rtr", "1", "-fmoe", "1", "-mla", "3", "-fa", "1")
BEST_OF_IK_TOGETHER = ("-rtr", "-mla", "3")  # the rest it does by itself


class Test(NamedTuple):
    """Reads `prompt` tokens or, where that is 0, writes `written`, behind `depth` others, in `together` answers.

    While one core is `busy` with something else.
    """

    name: str
    prompt: int = 0
    written: int = 0
    depth: int = 0
    together: int = 1
    busy: bool = False


TESTS = (
    Test("pp512", prompt=512),
    Test("pp2048", prompt=2048),
    Test("tg64", written=64),
    Test(f"tg@{DEPTH}", written=WRITTEN, depth=DEPTH),
    Test("tg x4", written=WRITTEN, together=4),
    Test("tg busy", written=WRITTEN, busy=True),
    Test("load", written=1),
)


@dataclass(frozen=True, slots=True)
class Run:
    rate: float  # tokens per second
    seconds: float  # of the whole process
    resident: int  # its most bytes
    report: Any  # what the program printed


@dataclass(frozen=True, slots=True)
class Engine:
    name: str
    command: Callable[[Path, Test, int], list[str]]
    rate: Callable[[Any, Test], float]
    beside: Callable[[Any], float] = lambda report: 0.0  # seconds that it did something that the others do not

    def run(self, model: Path, test: Test, threads: int) -> Run | None:
        """None where the engine fails on this file; what it said goes to stderr."""
        with one_core_busy() if test.busy else nullcontext():
            began = time.perf_counter()
            process = subprocess.Popen(
                self.command(model, test, threads), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            out, err = process.communicate()
            seconds = time.perf_counter() - began
        if process.returncode != 0:
            print(f"{self.name} failed on {model.name}, {test.name}: {err.strip()[-300:]}", file=sys.stderr)
            return None
        report = printed(out if out.strip() else err)  # ik's batched bench writes its table to stderr
        return Run(self.rate(report, test), seconds - self.beside(report), resident(err), report)


@contextmanager
def one_core_busy() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
    try:
        yield
    finally:
        process.kill()
        process.wait()


def timed(command: list[str]) -> list[str]:
    return ["/usr/bin/time", "-f", "resident %M", *command]


def resident(err: str) -> int:
    return int(err.rsplit("resident ", 1)[1]) * 1024


def printed(out: str) -> Any:
    """A JSON document, a line of JSON, or the last row of a table with its header."""
    try:
        return json.loads(out)
    except json.JSONDecodeError:
        pass
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if lines:
        return json.loads(lines[-1])
    rows = [[cell.strip() for cell in line.split("|")] for line in out.splitlines() if line.startswith("|")]
    return dict(zip(rows[0], rows[-1], strict=True))


def ktd() -> Engine:
    def command(model: Path, test: Test, threads: int) -> list[str]:
        asked = ["--prompt", str(test.prompt), "--generate", str(test.written)]
        asked += ["--ctx", str(test.depth), "--batch", str(test.together)]
        measured = [sys.executable, "-P", "-m", "ktd.engine.bench", *shards(model)]
        return timed([*measured, *asked, "--threads", str(threads), "--repeat", "1", "--json"])

    def rate(report: Any, test: Test) -> float:
        (only,) = report["tests"]
        return float(only["tokens_per_second"])

    return Engine("ktd", command, rate, lambda report: float(report["roofs"]["seconds"]))


def peer(name: str, folder: Path, flags: tuple[str, ...], flags_together: tuple[str, ...], deep: str) -> Engine:
    """`deep` is the flag with which its llama-bench writes behind a context: -d of llama.cpp, -gp of ik's."""

    def command(model: Path, test: Test, threads: int) -> list[str]:
        common = ["-m", str(model), "-t", str(threads)]
        if test.together > 1:
            sizes = ["-c", "2048", "-npp", "16", "-ntg", str(test.written), "-npl", str(test.together)]
            return timed([str(folder / "llama-batched-bench"), *common, *sizes, *flags_together])
        asked = ["-p", str(test.prompt), "-n", str(test.written)]
        if test.depth and deep == "-gp":
            asked = ["-p", "0", "-n", "0", "-gp", f"{test.depth},{test.written}"]
        elif test.depth:
            asked += ["-d", str(test.depth)]
        return timed([str(folder / "llama-bench"), *common, *asked, "-r", "1", "-o", "json", *flags])

    def rate(report: Any, test: Test) -> float:
        if test.together > 1:
            return float(report["speed_tg"] if "speed_tg" in report else report["S_TG t/s"])
        return float(report[-1]["avg_ts"])

    return Engine(name, command, rate)


def shards(model: Path) -> list[str]:
    """All files of a split model, given its first."""
    if "-00001-of-" not in model.name:
        return [str(model)]
    stem, count = model.name.removesuffix(".gguf").split("-00001-of-")
    return [str(model.with_name(f"{stem}-{i:05}-of-{count}.gguf")) for i in range(1, int(count) + 1)]


@dataclass(slots=True)
class Figures:
    """What one engine did in one test."""

    runs: list[Run] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(run.rate for run in self.runs)

    @property
    def seconds(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    @property
    def resident(self) -> int:
        return max(run.resident for run in self.runs)


def compare(model: Path, engines: list[Engine], tests: list[Test], threads: int, rounds: int) -> Iterator[str]:
    found = {(engine.name, test.name): Figures() for engine in engines for test in tests}
    for _ in range(rounds):
        for test in tests:
            for engine in engines:
                if run := engine.run(model, test, threads):
                    found[engine.name, test.name].runs.append(run)
    yield from roof(found)
    for test in tests:
        yield line(test, [found[engine.name, test.name] for engine in engines])


def roof(found: dict[tuple[str, str], Figures]) -> Iterator[str]:
    """What the memory allows when writing one answer, as ktd measured it in the same rounds."""
    reports = [run.report for (name, _), figures in found.items() if name == "ktd" for run in figures.runs]
    if reports:
        bandwidth, token = statistics.median(r["roofs"]["bandwidth"] for r in reports), reports[0]["bytes_per_token"]
        tokens = bandwidth / token
        yield f"  roof of tg: {tokens:.1f} tokens/s ({token / 1e9:.2f} GB a token, {bandwidth / 1e9:.1f} GB/s)"


def line(test: Test, figures: list[Figures]) -> str:
    cells = [f"  {test.name:<8}"]
    ours = figures[0]
    for theirs in figures:
        if not theirs.runs:
            cells.append(f"{'-':>24}")
        elif test.name == "load":
            cells.append(f"{theirs.seconds:>9.1f} s {theirs.resident / 2**30:>7.2f} GiB  ")
        elif theirs is ours or not ours.runs:
            cells.append(f"{theirs.rate:>24.1f}")
        else:
            cells.append(f"{theirs.rate:>14.1f}  ({ours.rate / theirs.rate:>4.2f} x)")
    return "".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="FILE", help="a GGUF file, or the first of a split one")
    parser.add_argument("--llama", type=Path, metavar="DIR", help="llama.cpp's programs")
    parser.add_argument("--ik", type=Path, metavar="DIR", help="ik_llama.cpp's programs")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every engine (all cores)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each test by each engine (3)")
    parser.add_argument("--tests", nargs="+", choices=[t.name for t in TESTS], help="only these")
    options = parser.parse_args()
    engines = [ktd()]
    if options.llama:
        engines.append(peer("llama.cpp", options.llama, (), ("--output-format", "jsonl"), "-d"))
    if options.ik:
        engines.append(peer("ik_llama.cpp", options.ik, BEST_OF_IK, BEST_OF_IK_TOGETHER, "-gp"))
    tests = [test for test in TESTS if not options.tests or test.name in options.tests]
    print(" " * 10 + "".join(f"{engine.name:>24}" for engine in engines))
    for model in options.models:
        print(model.name, flush=True)
        for row in compare(model, engines, tests, options.threads, options.rounds):
            print(row, flush=True)


if __name__ == "__main__":
    main()
