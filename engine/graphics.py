"""Graphics cards of this machine, as NVIDIA's own tool tells them. No driver, no card, no tool: none."""

import subprocess
from dataclasses import dataclass

QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits")
PATIENCE = 10.0  # seconds; a driver that nobody holds open takes some to wake
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Card:
    name: str
    total: int  # bytes
    free: int


def graphics_cards() -> tuple[Card, ...]:
    """Blocks while the tool runs. A card that does not tell its memory (one cut into parts by MIG) is left out."""
    try:
        told = subprocess.run(QUERY, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = (line.rsplit(",", 2) for line in told.splitlines())
    return tuple(
        Card(row[0].strip(), int(row[1]) * MIB, int(row[2]) * MIB)
        for row in rows
        if len(row) == 3 and row[1].strip().isdecimal() and row[2].strip().isdecimal()
    )
