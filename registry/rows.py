"""Between rows and records: what is stored of a candidate, and how it is read back."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ktd.registry.blobs import Blobs
from ktd.registry.candidate import Candidate
from ktd.registry.names import ModelName
from ktd.registry.record import Changes, Details, ModelRecord
from ktd.registry.reference import Reference, Stamp
from ktd.registry.tables import STORED, Blob, Bundle, Model, ModelFile

WEIGHTS = "weights"


def manifest_digest(candidate: Candidate, references: Sequence[Reference]) -> str:
    """64 hex digits over all that makes the model answer as it does; equal models have equal digests."""
    return _digest([reference.digest for reference in references], candidate, _objects(candidate.messages))


def _digest(files: Sequence[str], texts: Candidate | Model, messages: list[dict[str, str]]) -> str:
    manifest = {
        "files": [[WEIGHTS, digest] for digest in files],
        "template": texts.template,
        "license": texts.license,
        "parameters": texts.parameters,
    }
    extra = {name: value for name, value in (("system", texts.system), ("messages", messages)) if value}
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
        system=candidate.system,
        license=candidate.license,
        parameters=candidate.parameters,
        messages=_objects(candidate.messages),
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
        made.messages = _objects(changes.messages)
    made.digest = _digest([file.blob.digest for file in made.files], made, made.messages)
    return made


def _objects(messages: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in messages]


def name_columns(name: ModelName) -> dict[str, Any]:
    host, namespace, model, tag = name.parts
    return {"key": name.key, "host": host, "namespace": namespace, "model": model, "tag": tag}


def all_records(session: Session, blobs: Blobs) -> list[ModelRecord]:
    """Every model, newest first. Two plain queries: hundreds of rows as objects of the mapper cost ten times that."""
    columns = (*Model.__table__.columns, Bundle.path.label("bundle_path"))
    newest = (Model.modified_at.desc(), Model.id.desc())
    models = session.execute(select(*columns).outerjoin(Bundle, Model.bundle_id == Bundle.id).order_by(*newest))
    shards = select(ModelFile.model_id, Blob.digest, Blob.path).join(Blob, ModelFile.blob_id == Blob.id)
    files: dict[int, list[tuple[str, Path]]] = defaultdict(list)
    for model, digest, path in session.execute(shards.order_by(ModelFile.model_id, ModelFile.ordinal)):
        files[model].append((digest, _path(digest, path, blobs)))
    return [_record(row, files[row.id], row.bundle_path) for row in models]


def record_of(row: Model, blobs: Blobs) -> ModelRecord:
    files = [(file.blob.digest, _path(file.blob.digest, file.blob.path, blobs)) for file in row.files]
    return _record(row, files, row.bundle.path if row.bundle else None)


def reference_of(blob: Blob, blobs: Blobs) -> Reference:
    return Reference(_path(blob.digest, blob.path, blobs), blob.digest, Stamp(blob.size, blob.mtime_ns))


def _record(row: Any, files: Sequence[tuple[str, Path]], bundle: str | None) -> ModelRecord:
    """`row` has the columns of `Model` as its fields, `files` are digests and places of its shards, in order."""
    details = row.details | {"families": tuple(row.details["families"])}
    return ModelRecord(
        name=ModelName(row.host, row.namespace, row.model, row.tag),
        digest=row.digest,
        size=row.size,
        modified_at=row.modified_at,
        files=tuple(path for _, path in files),
        details=Details(**details),
        capabilities=tuple(row.capabilities),
        template=row.template,
        system=row.system,
        license=row.license,
        parameters=row.parameters,
        messages=tuple((message["role"], message["content"]) for message in row.messages),
        bundle=Path(bundle) if bundle else None,
        weights=hashlib.sha256(" ".join(digest for digest, _ in files).encode()).hexdigest(),
    )


def _path(digest: str, path: str, blobs: Blobs) -> Path:
    return blobs.path(digest) if path == STORED else Path(path)
