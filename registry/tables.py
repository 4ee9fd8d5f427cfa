"""The tables. Rows never leave `store.py`; `migrations/` brings older databases to this shape."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

STORED = ""  # `Blob.path` of a file of the store's own


class Moment(TypeDecorator[datetime]):
    """An aware datetime. SQLite keeps no zone, so UTC goes in and UTC comes out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {
        dict[str, Any]: JSON,
        list[str]: JSON,
        list[dict[str, str]]: JSON,
        datetime: Moment,
        str: Text,
        int: BigInteger,
    }


class Model(Base):
    """A name and what it stands for. `key` is the name in lower case; the parts keep their case."""

    __tablename__ = "models"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    host: Mapped[str]
    namespace: Mapped[str]
    model: Mapped[str]
    tag: Mapped[str]
    digest: Mapped[str]
    size: Mapped[int]
    modified_at: Mapped[datetime] = mapped_column(index=True)
    details: Mapped[dict[str, Any]]
    capabilities: Mapped[list[str]]
    template: Mapped[str | None]
    system: Mapped[str | None]
    license: Mapped[str | None]
    parameters: Mapped[dict[str, Any]]
    messages: Mapped[list[dict[str, str]]]
    bundle_id: Mapped[int | None] = mapped_column(Integer, ForeignKey("bundles.id"), index=True)

    bundle: Mapped["Bundle | None"] = relationship(lazy="joined")
    files: Mapped[list["ModelFile"]] = relationship(
        cascade="all, delete-orphan", order_by="ModelFile.ordinal", lazy="selectin"
    )


class Blob(Base):
    """One copy of some bytes: a file of the store (`path` is `STORED`) or a user's file where it lies."""

    __tablename__ = "blobs"
    __table_args__ = (UniqueConstraint("digest", "path"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    digest: Mapped[str]
    path: Mapped[str] = mapped_column(index=True)
    size: Mapped[int]
    mtime_ns: Mapped[int]


class ModelFile(Base):
    """A file's part in a model: `role` "weights" with shards by `ordinal`."""

    __tablename__ = "model_files"

    model_id: Mapped[int] = mapped_column(Integer, ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    blob_id: Mapped[int] = mapped_column(Integer, ForeignKey("blobs.id"), index=True)

    blob: Mapped[Blob] = relationship(lazy="joined")


class Bundle(Base):
    """A directory with configuration files; `files` maps their names to sha256."""

    __tablename__ = "bundles"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    path: Mapped[str] = mapped_column(unique=True)
    files: Mapped[dict[str, Any]]


class Pull(Base):
    """A model that is being pulled, or was until something stopped it. It goes once the model is registered."""

    __tablename__ = "pulls"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)  # of the model
    name: Mapped[str]
    request: Mapped[dict[str, Any]]
    state: Mapped[str]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Download(Base):
    """A file of a hub: on its way, how far its partial file tells; or here, which says where to fetch it again."""

    __tablename__ = "downloads"
    __table_args__ = (UniqueConstraint("source", "repo", "revision", "file"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(index=True)  # of the model it is for
    source: Mapped[str]
    repo: Mapped[str]
    revision: Mapped[str]
    file: Mapped[str]
    digest: Mapped[str | None] = mapped_column(index=True)
    size: Mapped[int | None]
    state: Mapped[str]
    checksums: Mapped[bytes | None]  # CRC-32 of each piece, little endian; see `partial.py`
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Mark(Base):
    """Something this home remembers of itself, such as that the demo model was offered once."""

    __tablename__ = "marks"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
