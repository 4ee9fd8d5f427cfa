"""ModelName: `[scheme://][host/][namespace/]model[:tag]`, parsed once into a value (Ollama's grammar)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ktd.registry.errors import InvalidName

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

SCHEMES = ("http", "https")
PARTS = {
    "host": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"),
    "namespace": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"),
    "model": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
}
LOCAL = ":local"  # a suffix of Ollama's that only says "not in the cloud"; every model here is local


@dataclass(frozen=True, slots=True, eq=False)
class ModelName:
    """Names are equal without regard to case, and keep the case they were given."""

    host: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """Raises `InvalidName`."""
        rest = text.strip()
        scheme, separator, after = rest.partition("://")
        if separator:
            if scheme.lower() not in SCHEMES:
                raise InvalidName(f"invalid model name {text!r:.200}: the scheme must be http or https")
            rest = after
        while rest.lower().endswith(LOCAL):
            rest = rest[: -len(LOCAL)]
        *folders, last = rest.split("/")
        if len(folders) > 2:
            raise InvalidName(f"invalid model name {text!r:.200}: more than host/namespace/model")
        model, colon, tag = last.partition(":")
        host, namespace = [DEFAULT_HOST, DEFAULT_NAMESPACE][: 2 - len(folders)] + folders
        return cls.of(text, host=host, namespace=namespace, model=model, tag=tag if colon else DEFAULT_TAG)

    @classmethod
    def of(cls, text: str, **parts: str) -> "ModelName":
        """A name of checked parts; `text` is what the user wrote, for the message."""
        for part, pattern in PARTS.items():
            if not pattern.fullmatch(parts[part]):
                raise InvalidName(f"invalid model name {text!r:.200}: {parts[part]!r:.100} is no {part}")
        return cls(**parts)

    @property
    def parts(self) -> tuple[str, str, str, str]:
        return self.host, self.namespace, self.model, self.tag

    @property
    def key(self) -> str:
        """The whole name in lower case: what it is looked up by."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}".lower()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelName) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        """The form shown: without default host and namespace, always with the tag."""
        name = f"{self.model}:{self.tag}"
        if self.host.lower() != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{name}"
        if self.namespace.lower() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{name}"
        return name

    def cased_like(self, known: Iterable["ModelName"]) -> "ModelName":
        """This name with its leading parts in the case that known names already use."""
        best: tuple[str, ...] = ()
        for other in known:
            shared = _shared(self.parts, other.parts)
            if len(shared) > len(best):
                best = shared
        return ModelName(*best, *self.parts[len(best) :])


def _shared(parts: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """The leading `others` that equal `parts` but for case."""
    count = 0
    while count < len(parts) and parts[count].lower() == others[count].lower():
        count += 1
    return others[:count]


def name_from_file(stem: str) -> ModelName:
    """A name for a file that was given none: its stem, with what the grammar lacks made into dashes."""
    model = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.")[:80]
    if not model:
        raise InvalidName(f"no model name can be made of {stem!r:.200}; give one")
    return ModelName.of(stem, host=DEFAULT_HOST, namespace=DEFAULT_NAMESPACE, model=model, tag=DEFAULT_TAG)
