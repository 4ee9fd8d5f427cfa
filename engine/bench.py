"""How fast a model runs here: `python -P -m ktd.engine.bench FILE...`, all shards of one model in order.

Measures the runtime alone, without tokenizer, sampling or socket, as llama-bench does: `pp` reads a prompt, `tg`
writes token after token, `@` behind a context of so many tokens, `x` in so many answers at once. Tokens are random,
so that experts are chosen widely. What a context holds does not change its speed: its pages are filled with numbers
instead of computed. Beside each speed stands how much of the measured roofs it uses.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from ktd.engine import _core
from ktd.engine.batch import Batch
from ktd.engine.errors import LoadRefused
from ktd.engine.executor import CpuExecutor
from ktd.engine.loader import OpenModel, open_model
from ktd.engine.memory import available_memory
from ktd.engine.messages import Load
from ktd.engine.placement import PAGE_TOKENS, cache_row_bytes
from ktd.engine.roofline import products, weight_bytes

BANDWIDTH_BUFFER = 1 << 30  # far beyond any cache, if memory allows


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: tokens to read and to write, behind each context, in each number of answers at once."""

    prompt: int
    generate: int
    contexts: tuple[int, ...]
    batches: tuple[int, ...]
    repeat: int

    @property
    def longest(self) -> int:
        return max(self.contexts) + max(self.prompt, self.generate)


class Roofs(msgspec.Struct, frozen=True):
    """What all threads together reach here: bytes read and multiplications, a second. To measure it took `seconds`."""

    bandwidth: float
    float_products: float
    byte_products: float
    seconds: float


class Result(msgspec.Struct, frozen=True):
    """`tokens_per_second` is the median of `runs`, of all answers together. Of a step: bytes of weights and cache that
    it reads, and multiplications; and the parts of the measured bandwidth and byte products that these use."""

    name: str
    tokens: int
    ctx: int
    batch: int
    tokens_per_second: float
    runs: tuple[float, ...]
    step_bytes: int
    step_products: int
    bandwidth_used: float
    products_used: float


class Report(msgspec.Struct, frozen=True):
    """A token of a single answer with an empty context reads `bytes_per_token` of weights."""

    architecture: str
    weights: int
    threads: int
    isa: str
    cache_type: str
    roofs: Roofs
    bytes_per_token: int
    tests: tuple[Result, ...]


def measure(load: Load, plan: Plan) -> Report:
    """Raises LoadRefused."""
    machine = _core.Machine(load.threads or 0)
    threads, isa = machine.threads, machine.isa
    began = time.perf_counter()
    bandwidth = machine.read_bandwidth(min(BANDWIDTH_BUFFER, available_memory() // 4))
    roofs = Roofs(bandwidth, *machine.multiplication_peak(), time.perf_counter() - began)
    del machine
    model, _ = open_model(load, lambda done, total: None)
    if plan.longest > model.context:
        raise LoadRefused("bad_option", f"the model's context ends at {model.context} tokens")
    bench = Bench(model, load, roofs)
    return Report(
        architecture=model.spec.architecture,
        weights=sum(model.sizes.values()),
        threads=threads,
        isa=isa,
        cache_type=load.cache_type,
        roofs=roofs,
        bytes_per_token=weight_bytes(model.spec, model.sizes),
        tests=tuple(bench.tests(plan)),
    )


class Bench:
    """A model with a cache for what is measured."""

    def __init__(self, model: OpenModel, load: Load, roofs: Roofs) -> None:
        assert isinstance(model.executor, CpuExecutor)
        self._executor = model.executor
        self._spec, self._sizes, self._roofs = model.spec, model.sizes, roofs
        self._most = model.step_tokens
        self._cache_type = load.cache_type
        self._random = np.random.default_rng(1)

    def tests(self, plan: Plan) -> Iterator[Result]:
        self._open_cache(max(plan.batches if plan.generate else (1,)), plan.longest)
        for ctx in plan.contexts:
            behind = f"@{ctx}" if ctx else ""
            if plan.prompt:
                yield self._read(f"pp{plan.prompt}{behind}", plan.prompt, ctx, plan.repeat)
            for batch in plan.batches if plan.generate else ():
                together = f"x{batch}" if batch > 1 else ""
                yield self._write(f"tg{plan.generate}{behind}{together}", plan.generate, ctx, batch, plan.repeat)

    def _open_cache(self, answers: int, tokens: int) -> None:
        pages = -(-tokens // PAGE_TOKENS)
        needed, free = answers * pages * PAGE_TOKENS * cache_row_bytes(self._spec, self._cache_type), available_memory()
        if needed > free:
            raise LoadRefused("out_of_memory", f"{answers} contexts of {tokens} tokens need {needed} of {free} bytes")
        self._executor.open_cache(answers * pages, self._cache_type, filled=True)
        self._pages = np.arange(answers * pages, dtype=np.int32).reshape(answers, pages)

    def _read(self, name: str, tokens: int, ctx: int, repeat: int) -> Result:
        def run() -> None:
            for at in range(0, tokens, self._most):
                self._step(1, min(self._most, tokens - at), ctx + at)

        step = min(tokens, self._most)
        bytes = weight_bytes(self._spec, self._sizes, step) + self._cache_bytes(ctx)
        multiplied = step * products(self._spec, ctx + tokens // 2, logits=False)
        return self._result(name, tokens, ctx, 1, _rates(run, tokens, repeat), (step, bytes, multiplied))

    def _write(self, name: str, tokens: int, ctx: int, batch: int, repeat: int) -> Result:
        def run() -> None:
            for i in range(tokens):
                self._step(batch, 1, ctx + i)

        middle = ctx + tokens // 2
        bytes = weight_bytes(self._spec, self._sizes, batch) + batch * self._cache_bytes(middle)
        multiplied = batch * products(self._spec, middle)
        rates = _rates(run, batch * tokens, repeat)
        return self._result(name, batch * tokens, ctx, batch, rates, (batch, bytes, multiplied))

    def _cache_bytes(self, tokens: int) -> int:
        return tokens * cache_row_bytes(self._spec, self._cache_type)

    def _result(
        self, name: str, tokens: int, ctx: int, batch: int, runs: tuple[float, ...], step: tuple[int, int, int]
    ) -> Result:
        rate, (size, bytes, multiplied) = statistics.median(runs), step
        return Result(
            name=name,
            tokens=tokens,
            ctx=ctx,
            batch=batch,
            tokens_per_second=rate,
            runs=runs,
            step_bytes=bytes,
            step_products=multiplied,
            bandwidth_used=rate / size * bytes / self._roofs.bandwidth,
            products_used=rate / size * multiplied / self._roofs.byte_products,
        )

    def _step(self, answers: int, tokens: int, at: int) -> None:
        """The next `tokens` of each answer, with logits of the last."""
        count = answers * tokens
        self._executor.forward(
            Batch(
                self._random.integers(0, self._spec.vocab, count, np.int32),
                np.tile(np.arange(at, at + tokens, dtype=np.int32), answers),
                np.repeat(np.arange(answers, dtype=np.int32), tokens),
                self._pages[:answers],
                np.arange(tokens - 1, count, tokens, dtype=np.int32),
                np.zeros(0, np.int32),
            )
        )


def _rates(run: Callable[[], None], tokens: int, repeat: int) -> tuple[float, ...]:
    run()  # once unmeasured: caches, page tables, clocks
    rates = []
    for _ in range(repeat):
        began = time.perf_counter()
        run()
        rates.append(tokens / (time.perf_counter() - began))
    return tuple(rates)


def table(report: Report) -> str:
    roofs = report.roofs
    lines = [
        f"{report.architecture}, {report.weights / 1e6:.1f} MB of weights, {report.threads} threads, {report.isa}, "
        f"{report.cache_type} cache",
        f"read bandwidth {roofs.bandwidth / 1e9:.1f} GB/s; multiplications a second: "
        f"{roofs.byte_products / 1e9:.0f} G of bytes, {roofs.float_products / 1e9:.0f} G of floats",
        "",
        f"{'test':<14} {'tokens/s':>10} {'lowest':>10} {'highest':>10} {'MB a step':>10} {'bandwidth':>10} "
        f"{'products':>9}",
    ]
    for test in report.tests:
        lines.append(
            f"{test.name:<14} {test.tokens_per_second:>10.1f} {min(test.runs):>10.1f} {max(test.runs):>10.1f} "
            f"{test.step_bytes / 1e6:>10.1f} {test.bandwidth_used:>10.0%} {test.products_used:>9.0%}"
        )
    return "\n".join(lines)


def _list(least: int) -> Callable[[str], tuple[int, ...]]:
    """Parses numbers with commas between them."""

    def parse(text: str) -> tuple[int, ...]:
        numbers = tuple(int(part) for part in text.split(","))
        if min(numbers) < least:
            raise ValueError
        return numbers

    parse.__name__ = "numbers"  # what argparse calls it in its errors
    return parse


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ktd bench", description="Measure how fast a model runs on this machine.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="the model's GGUF, or all its shards in order")
    parser.add_argument(
        "--prompt", "--prefill", type=int, default=512, metavar="N", help="tokens to read (512; 0: none)"
    )
    parser.add_argument(
        "--generate", "--decode", type=int, default=128, metavar="N", help="tokens to write (128; 0: none)"
    )
    parser.add_argument("--ctx", type=_list(0), default=(0,), metavar="N,..", help="tokens before those (0)")
    parser.add_argument(
        "--batch", type=_list(1), default=(1,), metavar="N,..", help="answers that are written at once (1)"
    )
    parser.add_argument(
        "--cache-type", choices=("f32", "f16", "bf16", "q8_0"), default="f16", help="of the KV cache (f16)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads (one per core)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="measured runs of each test (3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.prompt < 0 or options.generate < 0 or options.repeat < 1:
        parser.error("--prompt and --generate must not be negative, --repeat at least 1")
    if not options.prompt and not options.generate:
        parser.error("nothing to measure: --prompt and --generate are both 0")
    return options


def main() -> None:
    options = _arguments()
    plan = Plan(options.prompt, options.generate, options.ctx, options.batch, options.repeat)
    load = Load(tuple(options.files), context=plan.longest, threads=options.threads, cache_type=options.cache_type)
    try:
        report = measure(load, plan)
    except (LoadRefused, _core.EngineError) as error:
        sys.exit(f"error: {error}")
    print(msgspec.json.encode(report).decode() if options.json else table(report))


if __name__ == "__main__":
    main()
