"""Options by Ollama's names, from a model's parameters and from requests, made into Terms.

Clients send everything they know: unknown, deprecated and null options are passed over. Numbers may come as text,
whole numbers as floats.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace as evolve
from typing import Any

from msgspec.structs import replace

from ktd.daemon.chat.chat import Terms
from ktd.daemon.errors import BadRequest
from ktd.engine.messages import Sampling

MOST = (1 << 31) - 1
SEEDS = 1 << 63
LARGEST = 1e300  # of any number a client may mean; infinity and NaN lie outside too
MOST_STOPS = 64
LONGEST_STOP = 1024  # characters
LEAST_CONTEXT = 4
MOST_TOP_LOGPROBS = 20  # best tokens told at each place


def terms(
    *layers: Mapping[str, Any],
    keep_alive: float | None = None,
    logprobs: int | None = None,
    logit_bias: tuple[tuple[int, float], ...] = (),
    schema: str | None = None,
    shift: bool = False,
) -> Terms:
    """Later layers win. Raises BadRequest."""
    options: dict[str, Any] = {}
    for layer in layers:
        options.update({name: value for name, value in layer.items() if value is not None})
    context = whole_number(options, "num_ctx")
    return Terms(
        sampling=replace(_sampling(options), logprobs=logprobs, logit_bias=logit_bias, shift=shift),
        stops=tuple(_stops(options.get("stop"))),
        context=None if context is None or context == 0 else min(max(context, LEAST_CONTEXT), MOST),
        keep_alive=keep_alive,
        schema=schema,
    )


def several(terms: Terms, count: int) -> list[Terms]:
    """The terms of so many answers to one prompt: a seed is counted up, so that they are not all the same."""
    sampling = terms.sampling
    seeds = [None if sampling.seed is None else (sampling.seed + index) % SEEDS for index in range(count)]
    return [evolve(terms, sampling=replace(sampling, seed=seed)) for seed in seeds]


def _sampling(options: Mapping[str, Any]) -> Sampling:
    usual = Sampling()
    last_n = whole_number(options, "repeat_last_n", usual.repeat_last_n)
    keep = whole_number(options, "num_keep", usual.keep)
    seed = whole_number(options, "seed")
    tokens = whole_number(options, "num_predict")
    return Sampling(
        temperature=_float(options, "temperature", usual.temperature, low=0),
        top_k=min(max(whole_number(options, "top_k", usual.top_k), 0), MOST),
        top_p=_float(options, "top_p", usual.top_p, low=0, high=1),
        min_p=_float(options, "min_p", usual.min_p, low=0, high=1),
        typical_p=_float(options, "typical_p", usual.typical_p, low=0, high=1),
        repeat_penalty=_float(options, "repeat_penalty", usual.repeat_penalty, low=0.01),
        repeat_last_n=min(max(last_n, -1), MOST),
        presence_penalty=_float(options, "presence_penalty", usual.presence_penalty),
        frequency_penalty=_float(options, "frequency_penalty", usual.frequency_penalty),
        keep=min(MOST if keep < 0 else keep, MOST),
        seed=None if seed is None or seed < 0 else seed % SEEDS,
        max_tokens=None if tokens is None or tokens < 1 else min(tokens, MOST),
    )


def _float(
    options: Mapping[str, Any], name: str, usual: float, low: float = -math.inf, high: float = math.inf
) -> float:
    if name not in options:
        return usual
    value = _number(name, options[name], "float32")
    if not low <= value <= high:
        bounds = f"between {low:g} and {high:g}" if math.isfinite(high) else f"at least {low:g}"
        raise BadRequest(f'option "{name}" must be {bounds}')
    return float(value)


def whole_number(options: Mapping[str, Any], name: str, usual: Any = None) -> Any:
    """An option that is a whole number, or what is usual where there is none. Raises BadRequest."""
    value = options.get(name)
    return usual if value is None else int(_number(name, value, "integer"))


def _number(name: str, value: object, kind: str) -> float:
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
        raise BadRequest(f'option "{name}" must be of type {kind}')
    return value


def _stops(value: object) -> Iterator[str]:
    stops = [value] if isinstance(value, str) else ([] if value is None else value)
    if not isinstance(stops, list | tuple) or not all(isinstance(stop, str) for stop in stops):
        raise BadRequest('option "stop" must be of type array')
    if len(stops) > MOST_STOPS or any(len(stop) > LONGEST_STOP for stop in stops):
        raise BadRequest(f"at most {MOST_STOPS} stop strings of {LONGEST_STOP} characters are allowed")
    return (stop for stop in stops if stop)
