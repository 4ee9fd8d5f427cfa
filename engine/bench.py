"""How fast a model runs here: `python -P -m ktd.engine.bench FILE...`, all shards of one model in order.

Measures the runtime alone, without tokenizer, sampling or socket, as llama-bench does: `pp` reads a prompt, `tg`
computes one token after the other from an empty context. Tokens are random, so that experts are chosen widely.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import msgspec
import numpy as np

from ktd.engine import _core
from ktd.engine.batch import Batch, Ints
from ktd.engine.errors import LoadRefused
from ktd.engine.executor import Executor
from ktd.engine.loader import OpenModel, open_model
from ktd.engine.memory import available_memory
from ktd.engine.messages import Load
from ktd.engine.placement import PAGE_TOKENS
from ktd.engine.spec import Embed, ModelSpec, MoeFfn, weights

BANDWIDTH_BUFFER = 1 << 30  # far beyond any cache, if memory allows


class Result(msgspec.Struct, frozen=True):
    """`tokens_per_second` is the median of `runs`."""

    name: str
    tokens: int
    tokens_per_second: float
    runs: tuple[float, ...]


class Report(msgspec.Struct, frozen=True):
    """`bandwidth` is bytes per second that all threads read together; a token reads `bytes_per_token` of weights."""

    architecture: str
    weights: int
    threads: int
    isa: str
    bandwidth: float
    bytes_per_token: int
    bandwidth_used: float | None  # by decoding, as a fraction
    tests: tuple[Result, ...]


def bytes_per_token(spec: ModelSpec, sizes: Mapping[str, int]) -> int:
    """Bytes of weights that decoding one token reads: of experts only those used, of the embedding one row."""
    total = 0
    for stage in spec.stages:
        if isinstance(stage, Embed):
            total += sizes[stage.table.name] // stage.vocab
            continue
        total += sum(sizes[weight.name] for weight in weights(stage))
        if isinstance(stage, MoeFfn):
            experts = sum(sizes[weight.name] for weight in weights(stage.experts))
            total -= experts * (stage.router.experts - stage.router.used) // stage.router.experts
    return total


def measure(load: Load, prompt: int, generate: int, repeat: int) -> Report:
    """Raises LoadRefused."""
    machine = _core.Machine(load.threads or 0)
    threads, isa = machine.threads, machine.isa
    bandwidth = machine.read_bandwidth(min(BANDWIDTH_BUFFER, available_memory() // 4))
    del machine
    model, _ = open_model(load, lambda done, total: None)
    if max(prompt, generate) > model.context:
        raise LoadRefused("bad_option", f"the model's context ends at {model.context} tokens")
    tests = tuple(_tests(model, prompt, generate, repeat))
    per_token = bytes_per_token(model.spec, model.sizes)
    decode = next((test.tokens_per_second for test in tests if test.name.startswith("tg")), None)
    return Report(
        architecture=model.spec.architecture,
        weights=sum(model.sizes.values()),
        threads=threads,
        isa=isa,
        bandwidth=bandwidth,
        bytes_per_token=per_token,
        bandwidth_used=None if decode is None else decode * per_token / bandwidth,
        tests=tests,
    )


def _tests(model: OpenModel, prompt: int, generate: int, repeat: int) -> Iterator[Result]:
    tokens = np.random.default_rng(1).integers(0, model.spec.vocab, max(prompt, generate), np.int32)
    if prompt:
        yield _test(f"pp{prompt}", prompt, repeat, lambda: _read(model.executor, tokens[:prompt], model.step_tokens))
    if generate:
        yield _test(f"tg{generate}", generate, repeat, lambda: _read(model.executor, tokens[:generate], 1))


def _test(name: str, tokens: int, repeat: int, run: Callable[[], None]) -> Result:
    run()  # once unmeasured: caches, page tables, clocks
    rates = []
    for _ in range(repeat):
        began = time.perf_counter()
        run()
        rates.append(tokens / (time.perf_counter() - began))
    return Result(name, tokens, statistics.median(rates), tuple(rates))


def _read(executor: Executor, tokens: Ints, step: int) -> None:
    """Compute tokens from position 0 on, `step` at a time, with logits of each step's last."""
    pages = np.arange(-(-len(tokens) // PAGE_TOKENS), dtype=np.int32)[None, :]
    for begin in range(0, len(tokens), step):
        part = tokens[begin : begin + step]
        positions = np.arange(begin, begin + len(part), dtype=np.int32)
        rows = np.array([len(part) - 1], np.int32)
        executor.forward(Batch(part, positions, np.zeros(len(part), np.int32), pages, rows, rows[:0]))


def table(report: Report) -> str:
    used = "" if report.bandwidth_used is None else f"{report.bandwidth_used:.0%} of bandwidth"
    lines = [
        f"{report.architecture}, {report.weights / 1e6:.1f} MB of weights, {report.threads} threads, {report.isa}",
        f"read bandwidth {report.bandwidth / 1e9:.1f} GB/s, {report.bytes_per_token / 1e6:.1f} MB read per token",
        "",
        f"{'test':<8} {'tokens/s':>10} {'lowest':>10} {'highest':>10}",
    ]
    for test in report.tests:
        rates = f"{test.tokens_per_second:>10.1f} {min(test.runs):>10.1f} {max(test.runs):>10.1f}"
        lines.append(f"{test.name:<8} {rates}  {used if test.name.startswith('tg') else ''}".rstrip())
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ktd bench", description="Measure how fast a model runs on this machine.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="the model's GGUF, or all its shards in order")
    parser.add_argument("--prompt", type=int, default=512, metavar="N", help="tokens to read (512; 0: skip)")
    parser.add_argument("--generate", type=int, default=128, metavar="N", help="tokens to write (128; 0: skip)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (one per core)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="measured runs of each test (3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.prompt < 0 or options.generate < 0 or options.repeat < 1:
        parser.error("--prompt and --generate must not be negative, --repeat at least 1")
    return options


def main() -> None:
    options = _arguments()
    context = max(options.prompt, options.generate, 1)
    load = Load(tuple(options.files), context=context, threads=options.threads)
    try:
        report = measure(load, options.prompt, options.generate, options.repeat)
    except (LoadRefused, _core.EngineError) as error:
        sys.exit(f"error: {error}")
    print(msgspec.json.encode(report).decode() if options.json else table(report))


if __name__ == "__main__":
    main()
