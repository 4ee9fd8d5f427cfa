"""Journal: pulls and downloads in the database, for the next process to go on with. For any thread."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from ktd.registry.database import Database
from ktd.registry.errors import NoSuchDownload
from ktd.registry.names import ModelName
from ktd.registry.sources.hub import HubFile, Listing
from ktd.registry.tables import Download, Pull

RUNNING, PAUSED, STOPPED, FAILED = "running", "paused", "stopped", "failed"  # of pulls
WANTED, HERE = "wanted", "here"  # of files


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asked for; enough to go on with after a restart. The token is never stored."""

    name: ModelName
    source: str | None = None
    revision: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)

    def facts(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "revision": self.revision,
            "include": list(self.include),
            "exclude": list(self.exclude),
        }

    @classmethod
    def of(cls, row: Pull) -> "Request":
        facts = row.request
        return cls(
            ModelName.parse(row.name),
            facts["source"],
            facts["revision"],
            tuple(facts["include"]),
            tuple(facts["exclude"]),
        )


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A pull that is not done: its files as (sha256, size)."""

    request: Request
    state: str
    error: str | None
    updated_at: datetime
    files: tuple[tuple[str, int], ...]

    @property
    def total(self) -> int:
        return sum(size for _, size in self.files)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the bytes of a digest came from, and the checksums of their pieces."""

    source: str
    listing: Listing
    file: HubFile
    checksums: bytes


class Journal:
    def __init__(self, database: Database) -> None:
        self._database = database

    def recover(self) -> None:
        """At start: what a process that died was pulling has stopped."""
        with self._database.write() as session:
            session.execute(update(Pull).where(Pull.state == RUNNING).values(state=STOPPED))

    def begin(self, request: Request) -> None:
        key, now = request.name.key, datetime.now(UTC)
        with self._database.write() as session:
            row = session.scalar(select(Pull).where(Pull.key == key))
            if row is None:
                row = Pull(key=key, created_at=now)
                session.add(row)
            row.name, row.request = _whole_name(request.name), request.facts()
            row.state, row.error, row.updated_at = RUNNING, None, now

    def plan(
        self, name: ModelName, source: str, listing: Listing, files: Iterable[HubFile], here: Collection[str] = ()
    ) -> None:
        """Replace what is known of a pull's files on their way by these; `here` are digests that need not come."""
        with self._database.write() as session:
            session.execute(delete(Download).where(Download.key == name.key, Download.state == WANTED))
            for file in files:
                row = _download(session, source, listing, file)
                if row.digest != f"sha256:{file.sha256}":
                    row.checksums = None
                row.state = HERE if file.sha256 in here else WANTED
                row.key, row.digest, row.size = name.key, f"sha256:{file.sha256}", file.size

    def arrived(self, source: str, listing: Listing, file: HubFile, checksums: bytes) -> None:
        with self._database.write() as session:
            row = _download(session, source, listing, file)
            row.digest, row.size = f"sha256:{file.sha256}", file.size
            row.state, row.checksums, row.updated_at = HERE, checksums, datetime.now(UTC)

    def stop(self, name: ModelName, state: str, error: str | None = None) -> None:
        """Note why a pull does not run any more; one that got no further than its name is forgotten."""
        changes = {"state": state, "error": error, "updated_at": datetime.now(UTC)}
        planned = exists().where(Download.key == name.key, Download.state == WANTED)
        with self._database.write() as session:
            if session.scalar(select(planned)):
                session.execute(update(Pull).where(Pull.key == name.key).values(changes))
            else:
                session.execute(delete(Pull).where(Pull.key == name.key))

    def finish(self, name: ModelName) -> None:
        """The model is registered: its files are here, and where they can be had again stays known."""
        left = update(Download).where(Download.key == name.key, Download.state == WANTED)
        with self._database.write() as session:
            session.execute(delete(Pull).where(Pull.key == name.key))
            session.execute(left.values(state=HERE, updated_at=datetime.now(UTC)))

    def forget(self, name: ModelName, heirs: Mapping[str, ModelName]) -> None:
        """Nobody wants the model any more; `heirs` are other models that files of it are for, by their digests."""
        with self._database.write() as session:
            for row in session.scalars(select(Download).where(Download.key == name.key)):
                if heir := heirs.get((row.digest or "").removeprefix("sha256:")):
                    row.key = heir.key
            session.flush()
            session.execute(delete(Pull).where(Pull.key == name.key))
            session.execute(delete(Download).where(Download.key == name.key, Download.state == WANTED))

    def unfinished(self) -> list[Unfinished]:
        with self._database.read() as session:
            return [_unfinished(session, row) for row in session.scalars(select(Pull).order_by(Pull.created_at))]

    def find(self, name: ModelName) -> Unfinished:
        """Raises `NoSuchDownload`."""
        with self._database.read() as session:
            row = session.scalar(select(Pull).where(Pull.key == name.key))
            if row is None:
                raise NoSuchDownload(f"no unfinished download of '{name}'")
            return _unfinished(session, row)

    def origins(self, digest: str) -> Sequence[Origin]:
        """Newest first."""
        wanted = select(Download).where(Download.digest == digest, Download.state == HERE)
        with self._database.read() as session:
            rows = session.scalars(wanted.order_by(Download.updated_at.desc()))
            return [_origin(row) for row in rows]


def _download(session: Session, source: str, listing: Listing, file: HubFile) -> Download:
    """The row of a hub's file, made when there is none."""
    known = {"source": source, "repo": listing.repo, "revision": listing.revision, "file": file.path}
    row = session.scalar(select(Download).filter_by(**known))
    if row is None:
        now = datetime.now(UTC)
        row = Download(**known, key="", state=WANTED, created_at=now, updated_at=now)
        session.add(row)
    return row


def _whole_name(name: ModelName) -> str:
    host, namespace, model, tag = name.parts
    return f"{host}/{namespace}/{model}:{tag}"


def _unfinished(session: Session, row: Pull) -> Unfinished:
    files = session.scalars(select(Download).where(Download.key == row.key).order_by(Download.id))
    sizes = {file.digest.removeprefix("sha256:"): file.size or 0 for file in files if file.digest}
    return Unfinished(Request.of(row), row.state, row.error, row.updated_at, tuple(sizes.items()))


def _origin(row: Download) -> Origin:
    digest = (row.digest or "").removeprefix("sha256:")
    file = HubFile(row.file, row.size or 0, digest)
    return Origin(row.source, Listing(row.repo, row.revision, (file,)), file, row.checksums or b"")
