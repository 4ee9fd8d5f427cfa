"""ModelRecord: what the rest of ktd learns about a registered model."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ktd.registry.names import ModelName

Parameter = int | float | str | list[str]


@dataclass(frozen=True, slots=True)
class Details:
    """Facts read from the GGUF header."""

    family: str
    parameter_count: int
    parameter_size: str  # "671B"
    quantization_level: str  # "Q4_K_M"
    context_length: int | None
    embedding_length: int | None
    format: str = "gguf"
    parent_model: str = ""
    families: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """One model. `parameters` are defaults by Ollama's option names."""

    name: ModelName
    digest: str  # 64 hex digits over all that makes it answer as it does
    size: int  # bytes of all files
    modified_at: datetime  # aware
    files: tuple[Path, ...]  # absolute, shards in order
    details: Details
    capabilities: tuple[str, ...]
    template: str | None
    system: str | None
    license: str | None
    parameters: dict[str, Parameter]
    bundle: Path | None
    messages: tuple[tuple[str, str], ...] = ()  # role and text, put before every conversation
    weights: str = ""  # 64 hex digits over the bytes of its files: models that differ in texts only have the same


@dataclass(frozen=True, slots=True)
class Changes:
    """What a model made from another has of its own; None leaves what there is."""

    template: str | None = None
    system: str | None = None
    license: str | None = None
    parameters: dict[str, Parameter] = field(default_factory=dict)  # added to what there is
    messages: tuple[tuple[str, str], ...] | None = None

    @classmethod
    def of(cls, record: ModelRecord) -> "Changes":
        """All texts of a model."""
        return cls(record.template, record.system, record.license, record.parameters, record.messages)

    def then(self, later: "Changes") -> "Changes":
        return Changes(
            template=self.template if later.template is None else later.template,
            system=self.system if later.system is None else later.system,
            license=self.license if later.license is None else later.license,
            parameters=self.parameters | later.parameters,
            messages=self.messages if later.messages is None else later.messages,
        )
