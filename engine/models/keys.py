"""Keys: hyper-parameters of one architecture, read with their bounds."""

from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Gguf

MOST = 1 << 31  # of any count or width; the runtime's indices are 32 bits wide


class Keys:
    """`metadata` under the architecture's own prefix. Errors name the whole key."""

    def __init__(self, gguf: Gguf) -> None:
        self.metadata = gguf.metadata
        self.architecture = gguf.architecture

    def has(self, name: str) -> bool:
        return self._key(name) in self.metadata

    def count(self, name: str, default: int | None = None, *, least: int = 1, most: int = MOST - 1) -> int:
        """An integer from `least` to `most`; required when there is no default."""
        key = self._key(name)
        value = self.metadata.integer(key) if default is None else self.metadata.integer(key, default)
        if not least <= value <= most:
            raise self.refuse(name, f"{value} is not in {least} to {most}")
        return value

    def number(self, name: str, default: float | None = None, *, least: float, most: float) -> float:
        """A finite number from `least` to `most`; required when there is no default."""
        key = self._key(name)
        value = self.metadata.number(key) if default is None else self.metadata.number(key, default)
        if not least <= value <= most:
            raise self.refuse(name, f"{value:g} is not in {least:g} to {most:g}")
        return value

    def text(self, name: str, default: str) -> str:
        return self.metadata.text(self._key(name), default)

    def flag(self, name: str, default: bool) -> bool:
        return self.metadata.flag(self._key(name), default)

    def refuse(self, name: str, problem: str) -> LoadRefused:
        return LoadRefused("bad_file", f"metadata key {self._key(name)!r}: {problem}")

    def _key(self, name: str) -> str:
        return f"{self.architecture}.{name}"
