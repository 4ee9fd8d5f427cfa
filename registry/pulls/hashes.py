"""Hashes: of a file that is read from its first byte to its last.

The sha256 proves the whole; by the CRC-32 of each piece `ktd verify --repair` later finds which part of a damaged file
to fetch again.
"""

import array
import hashlib
import sys
import zlib

PIECE = 16 << 20  # bytes under one checksum


class Hashes:
    def __init__(self) -> None:
        self.count = 0  # bytes so far
        self._sha = hashlib.sha256()
        self._sums = array.array("I")
        self._crc = 0  # of the piece that is not whole yet

    def add(self, data: memoryview) -> None:
        self._sha.update(data)
        while data:
            part = data[: PIECE - self.count % PIECE]
            self._crc = zlib.crc32(part, self._crc)
            self.count += len(part)
            data = data[len(part) :]
            if self.count % PIECE == 0:
                self._sums.append(self._crc)
                self._crc = 0

    @property
    def digest(self) -> str:
        """64 hex digits."""
        return self._sha.hexdigest()

    @property
    def checksums(self) -> bytes:
        """Four bytes, little endian, for each piece; the last piece may be short."""
        sums = self._sums + array.array("I", [self._crc] if self.count % PIECE else [])
        if sys.byteorder == "big":
            sums.byteswap()
        return sums.tobytes()
