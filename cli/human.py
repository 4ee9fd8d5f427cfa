"""Sizes, times and tables as people read them."""

from collections.abc import Sequence
from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3600, 86400
WEEK, MONTH, YEAR = 7 * DAY, 30 * DAY, 365 * DAY
FOREVER = 20 * YEAR


def size(count: float) -> str:
    """Decimal units; one decimal below ten: `512 MB`, `1.3 GB`, `42 GB`."""
    value, unit = _scaled(count, ("B", "KB", "MB", "GB", "TB"))
    return f"{value:.0f} {unit}" if unit == "B" or round(value, 1) >= 10 else f"{value:.1f} {unit}"


def parameters(count: float) -> str:
    """How many weights: `671B`, `16.4M`."""
    value, unit = _scaled(count, ("", "K", "M", "B"))
    return f"{value:.0f}{unit}" if not unit or round(value, 1) >= 100 else f"{value:.1f}{unit}"


def _scaled(value: float, units: Sequence[str]) -> tuple[float, str]:
    """`value` in the largest unit that leaves less than a thousand after rounding."""
    power = 0
    while round(value) >= 1000 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return value, units[power]


def seconds(duration: float) -> str:
    """A length of time: `About a minute`, `12 minutes`, `3 weeks`."""
    if duration < 1:
        return "Less than a second"
    if duration < MINUTE:
        return _plural(duration, 1, "second")
    if duration < 2 * MINUTE:
        return "About a minute"
    if duration < HOUR:
        return _plural(duration, MINUTE, "minute")
    if duration < 2 * HOUR:
        return "About an hour"
    for unit, name, limit in ((HOUR, "hour", 2 * DAY), (DAY, "day", 2 * WEEK), (WEEK, "week", 2 * MONTH)):
        if duration < limit:
            return _plural(duration, unit, name)
    return _plural(duration, MONTH, "month") if duration < 2 * YEAR else _plural(duration, YEAR, "year")


def _plural(duration: float, unit: int, name: str) -> str:
    whole = int(duration // unit)
    return f"{whole} {name}" if whole == 1 else f"{whole} {name}s"


def nanoseconds(duration: int) -> str:
    """A measured time: `1m12.5s`, `4.213s`, `85.1ms`."""
    if duration >= 60_000_000_000:
        minutes, rest = divmod(duration / 1e9, 60)
        return f"{minutes:.0f}m{rest:.1f}s"
    return f"{duration / 1e9:.3f}s" if duration >= 1_000_000_000 else f"{duration / 1e6:.1f}ms"


def since(stamp: str, now: datetime | None = None) -> str:
    """An RFC 3339 time in the past: `2 days ago`."""
    return seconds(((now or datetime.now(UTC)) - datetime.fromisoformat(stamp)).total_seconds()) + " ago"


def until(stamp: str, now: datetime | None = None) -> str:
    """An RFC 3339 time to come: `4 minutes from now`, `Forever`, `Stopping...` when it has passed."""
    left = (datetime.fromisoformat(stamp) - (now or datetime.now(UTC))).total_seconds()
    if left > FOREVER:
        return "Forever"
    return seconds(left) + " from now" if left > 0 else "Stopping..."


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, four spaces apart, no rules."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "    ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
