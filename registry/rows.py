"""Between rows and records: what is stored of a candidate, and how it is read back."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ktd.registry.blobs import Blobs
from ktd.registry.importer import Candidate
from ktd.registry.names import ModelName
from ktd.registry.record import Changes, Details, ModelRecord
from ktd.registry.reference import Reference, Stamp
from ktd.registry.tables import STORED, Blob, Model, ModelFile

WEIGHTS = "weights"


def manifest_digest(candidate: Candidate, references: Sequence[Reference]) -> str:
    """64 hex digits over all that makes the model answer as it does; equal models have equal digests."""
    files = [reference.digest for reference in references]
    return _digest(files, candidate.template, candidate.license, candidate.parameters)


def row_digest(row: Model) -> str:
    """`manifest_digest` of a model whose texts may have been changed."""
    extra = {"system": row.system, "messages": row.messages}
    files = [file.blob.digest for file in row.files]
    changed = {name: value for name, value in extra.items() if value}
    return _digest(files, row.template, row.license, row.parameters, **changed)


def _digest(files: Sequence[str], template: str | None, license: str | None, parameters: Any, **extra: Any) -> str:
    manifest = {
        "files": [[WEIGHTS, digest] for digest in files],
        "template": template,
        "license": license,
        "parameters": parameters,
    }
    canonical = json.dumps(manifest | extra, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def model_row(candidate: Candidate, references: Sequence[Reference]) -> Model:
    """A row without name, files and bundle."""
    return Model(
        digest=manifest_digest(candidate, references),
        size=sum(reference.stamp.size for reference in references),
        modified_at=datetime.now(UTC),
        details=asdict(candidate.details),
        capabilities=list(candidate.capabilities),
        template=candidate.template,
        license=candidate.license,
        parameters=candidate.parameters,
        messages=[],
    )


def copied(row: Model) -> Model:
    """The same model in a row of its own, still without a name."""
    facts = ("digest", "size", "details", "capabilities", "template", "system", "license", "parameters", "messages")
    return Model(
        **{fact: getattr(row, fact) for fact in facts},
        bundle=row.bundle,
        modified_at=datetime.now(UTC),
        files=[ModelFile(role=file.role, ordinal=file.ordinal, blob=file.blob) for file in row.files],
    )


def changed(row: Model, changes: Changes) -> Model:
    """A model like another, with texts of its own, in a row without a name."""
    made = copied(row)
    made.template = row.template if changes.template is None else changes.template
    made.system = row.system if changes.system is None else changes.system
    made.license = row.license if changes.license is None else changes.license
    made.parameters = row.parameters | changes.parameters
    if changes.messages is not None:
        made.messages = [{"role": role, "content": text} for role, text in changes.messages]
    made.digest = row_digest(made)
    return made


def name_columns(name: ModelName) -> dict[str, Any]:
    host, namespace, model, tag = name.parts
    return {"key": name.key, "host": host, "namespace": namespace, "model": model, "tag": tag}


def name_of(row: Model) -> ModelName:
    return ModelName(row.host, row.namespace, row.model, row.tag)


def record_of(row: Model, blobs: Blobs) -> ModelRecord:
    details = row.details | {"families": tuple(row.details["families"])}
    return ModelRecord(
        name=name_of(row),
        digest=row.digest,
        size=row.size,
        modified_at=row.modified_at,
        files=tuple(reference_of(file.blob, blobs).path for file in row.files if file.role == WEIGHTS),
        details=Details(**details),
        capabilities=tuple(row.capabilities),
        template=row.template,
        system=row.system,
        license=row.license,
        parameters=row.parameters,
        messages=tuple((message["role"], message["content"]) for message in row.messages),
        bundle=Path(row.bundle.path) if row.bundle else None,
    )


def reference_of(blob: Blob, blobs: Blobs) -> Reference:
    path = blobs.path(blob.digest) if blob.path == STORED else Path(blob.path)
    return Reference(path, blob.digest, Stamp(blob.size, blob.mtime_ns))
