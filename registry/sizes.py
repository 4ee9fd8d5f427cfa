"""Sizes of files and memory as messages tell them, in decimal units."""


def gigabytes(count: int) -> str:
    for unit, letters in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if count >= unit:
            number = count / unit
            return f"{number:.0f} {letters}" if number >= 10 else f"{number:.1f} {letters}"
    return f"{count} B"
