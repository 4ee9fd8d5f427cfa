"""Durations as Go writes them ("1h30m", "300ms"), which is how Ollama's clients send keep_alive."""

import math
import re

FOREVER = math.inf

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(h|ms|m|s|us|µs|μs|ns)", re.ASCII)
_DURATION = re.compile(rf"[+-]?(?:{_TERM.pattern})+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)


def seconds(text: str) -> float:
    """Seconds in a Go duration or a bare number of seconds; FOREVER for a negative one. Raises ValueError."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return lasting(float(text))
    if not _DURATION.fullmatch(text):
        raise ValueError(f'"{text}" is not a duration such as "5m", "1h30m", "300ms", or a number of seconds')
    total = sum(float(count) * _SECONDS[unit] for count, unit in _TERM.findall(text))
    return lasting(-total if text.startswith("-") else total)


def lasting(amount: float) -> float:
    """A keep-alive time: negative or beyond counting means for ever. Raises ValueError on NaN."""
    if math.isnan(amount):
        raise ValueError("a duration cannot be NaN")
    return FOREVER if amount < 0 else amount
