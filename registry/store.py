"""Registry: the models of one home. Its methods may be called from any thread; no row leaves this file."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType

from sqlalchemy import delete, exists, select, update

from ktd.engine.gguf import Gguf, GGUFError
from ktd.registry.blobs import Blobs, digest_hex
from ktd.registry.candidate import ANYTHING, NOTHING, Candidate, read_candidate
from ktd.registry.database import Database
from ktd.registry.demo import DEMO, DEMO_MARK, demo_folder
from ktd.registry.details import capabilities
from ktd.registry.errors import DatabaseError, FileGone, ModelBroken, ModelNotFound
from ktd.registry.ledger import Ledger
from ktd.registry.memo import Memo
from ktd.registry.names import ModelName
from ktd.registry.prune import prune
from ktd.registry.pulls.journal import WANTED, Journal
from ktd.registry.record import Changes, ModelRecord
from ktd.registry.reference import Cancelled, Meter, Progress, Reference, Stamp, fingerprint, stamped
from ktd.registry.rows import WEIGHTS, all_records, changed, copied, manifest_digest, model_row, record_of, reference_of
from ktd.registry.supported import Supported
from ktd.registry.tables import STORED, Blob, Bundle, Download, Mark, Model, ModelFile, Pull

Name = str | ModelName

LIST = "list"  # of all models, in the memo


class Registry:
    """What models exist. Every method raises `RegistryError`s only."""

    def __init__(self, home: Path, database: Database, blobs: Blobs, supported: Supported) -> None:
        self._database = database
        self.home = home
        self.supported = supported
        self.blobs = blobs
        self.journal = Journal(database)
        self._memo = Memo(database.version)

    @classmethod
    def open(cls, home: Path, database_url: str | None = None, supported: Supported = ANYTHING) -> "Registry":
        """Open or create a home. Models outside `supported` are refused before they are registered or fetched."""
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            blobs = Blobs(home)
            blobs.sweep()
            return cls(home, Database(home, database_url), blobs, supported)
        except OSError as error:
            raise DatabaseError(f"{home} cannot be used as a home: {error.strerror}") from error

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> "Registry":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def list(self) -> Sequence[ModelRecord]:
        """All models, newest first."""
        return self._memo.recall(LIST, self._list)

    def listed(self) -> Sequence[ModelRecord] | None:
        """`list` without waiting for anything; None when the models have changed since that was asked."""
        found: Sequence[ModelRecord] | None = self._memo.known(LIST)
        return found

    def find(self, name: Name) -> ModelRecord:
        """Raises `InvalidName`, `ModelNotFound`."""
        with self._database.read() as session:
            return record_of(Ledger(session, self.blobs).get(_parsed(name)), self.blobs)

    def present(self, name: Name) -> ModelRecord:
        """`find`, and proof that the files are as they were registered; raises `FileGone`, `FileChanged` too."""
        target = _parsed(name)
        record, references = self._memo.recall(target, partial(self._with_files, target))
        for reference in references:
            reference.check()
        return record

    def header(self, name: Name) -> Gguf:
        """The model's metadata and tensor table, read from its files; close it. Raises `ModelBroken` too."""
        record = self.present(name)
        try:
            return Gguf.open(record.files)
        except GGUFError as error:
            raise ModelBroken(str(error)) from error

    def import_files(
        self,
        paths: Sequence[Path],
        name: Name | None = None,
        config: Path | None = None,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> ModelRecord:
        """Register the one model in these files and directories, where they lie; a model of this name is replaced.

        Every byte is read once for its sha256, except of files known unchanged. `config` is a bundle's directory.
        Raises `ImportRefused`, `ImportCancelled`, `InvalidName`.
        """
        wanted = None if name is None else _parsed(name)
        candidate = read_candidate(paths, config, self.supported)
        target = wanted or candidate.default_name()
        references = self._fingerprints(candidate.files, progress, cancelled)
        return self._register(target, candidate, references)

    def known(self, digest: str, size: int) -> Reference | None:
        """A whole file with these bytes (64 hex digits): one in use by a model, or one that was pulled and waits."""
        digest = f"sha256:{digest}"
        with self._database.read() as session:
            rows = session.scalars(select(Blob).where(Blob.digest == digest))
            references = [reference_of(row, self.blobs) for row in rows]
        for reference in references:
            with suppress(ModelBroken):
                reference.check()
                return reference
        with suppress(OSError):  # it got its name after it was proved
            stored = Reference(self.blobs.path(digest), digest, Stamp.of(self.blobs.path(digest)))
            return stored if stored.stamp.size == size and not references else None
        return None

    def references(self, name: Name | None = None) -> Sequence[Reference]:
        """The files of a model, or of all models, each once. Raises `ModelNotFound`."""
        with self._database.read() as session:
            ledger = Ledger(session, self.blobs)
            rows = [ledger.get(_parsed(name))] if name else session.scalars(select(Model).order_by(Model.id))
            files = {file.blob.id: file.blob for row in rows for file in row.files}
            return [reference_of(blob, self.blobs) for blob in files.values()]

    def restamp(self, reference: Reference) -> None:
        """Note that a file has been read and is right, whenever it was last written to."""
        path = STORED if reference.path == self.blobs.path(reference.digest) else str(reference.path)
        stamp = Stamp.of(reference.path)
        with self._database.write() as session:
            known = update(Blob).where(Blob.digest == reference.digest, Blob.path == path)
            session.execute(known.values(size=stamp.size, mtime_ns=stamp.mtime_ns))

    def prune(self, downloads: bool = False) -> tuple[int, int]:
        """Remove files of the store that nothing uses; with `downloads` also what unfinished pulls have fetched.

        Returns how many files and bytes went. No pull may run meanwhile.
        """
        with self._database.write() as session:
            used = set(session.scalars(select(Blob.digest).where(Blob.path == STORED)))
            bundles = set(session.scalars(select(Bundle.path)))
            if downloads:
                session.execute(delete(Pull))
                session.execute(delete(Download).where(Download.state == WANTED))
            used |= set(session.scalars(select(Download.digest).join(Pull, Pull.key == Download.key)))
            return prune(self.home, {digest for digest in used if digest}, bundles, downloads)

    def stored(self, digest: str) -> bool:
        """Whether the store has a file of its own with these bytes. Raises `InvalidDigest`."""
        return self.blobs.path(digest).is_file()

    def adopt(
        self, name: Name, references: Sequence[Reference], bundle: Path | None = None, changes: Changes = NOTHING
    ) -> ModelRecord:
        """Register proved files, shards in order, under a name; a model of this name is replaced.

        `changes` are texts that take the place of those in the files and the bundle.

        Raises `ImportRefused`, `BundleRefused`; `ModelBroken` when one of the files is gone or another by now.
        """
        for reference in references:
            reference.check()
        candidate = read_candidate([reference.path for reference in references], bundle, self.supported, changes)
        by_path = {reference.path: reference for reference in references}
        return self._register(_parsed(name), candidate, [by_path[path] for path in candidate.files])

    def discard_unused(self, digests: Sequence[str]) -> int:
        """Remove those files of the store that no model uses; returns the bytes that this frees."""
        freed = 0
        with self._database.write() as session:
            used = set(session.scalars(select(Blob.digest).where(Blob.digest.in_(digests), Blob.path == STORED)))
            for digest in digests:
                path = self.blobs.path(digest)
                if digest not in used and path.is_file():
                    freed += path.stat().st_size
                    self.blobs.discard(digest)
        return freed

    def delete(self, name: Name) -> None:
        """Forget a model. Files of the store that nothing else uses go with it; a user's files never do."""
        target = _parsed(name)
        with self._database.write() as session:
            ledger = Ledger(session, self.blobs)
            ledger.remove(ledger.get(target))

    def has(self, digest: str) -> bool:
        """Whether any name stands for the model of this digest."""
        with self._database.read() as session:
            return bool(session.scalar(select(exists().where(Model.digest == digest))))

    def copy(self, source: Name, destination: Name) -> ModelRecord:
        """Give a model a second name, in place of what has that name now. Nothing is copied on disk."""
        origin, target = _parsed(source), _parsed(destination)
        with self._database.write() as session:
            ledger = Ledger(session, self.blobs)
            row = ledger.get(origin)
            if origin != target:
                row = copied(row)
                ledger.put(row, target)
            return record_of(row, self.blobs)

    def create(self, name: Name, source: Name, changes: Changes) -> ModelRecord:
        """A model with the files of another and texts of its own, in place of what has that name now."""
        origin, target = _parsed(source), _parsed(name)
        with self.header(origin) as gguf:
            able = None if changes.template is None else capabilities(gguf, changes.template)
        with self._database.write() as session:
            ledger = Ledger(session, self.blobs)
            row = changed(ledger.get(origin), changes)
            if able is not None:
                row.capabilities = list(able)
            ledger.put(row, target)
            return record_of(row, self.blobs)

    def blob(self, digest: str) -> Reference:
        """A file of the store. Raises `InvalidDigest`, `FileGone`."""
        path = self.blobs.path(digest)
        try:
            return Reference(path, f"sha256:{digest_hex(digest)}", Stamp.of(path))
        except OSError as error:
            raise FileGone(f"there is no blob {digest}; upload it first") from error

    def ensure_demo(self) -> ModelRecord | None:
        """Register the demo model in a new home, and follow its files when an upgrade changes or moves them.

        None when the user deleted it or has another model of that name. Raises `DemoMissing`.
        """
        if not self._demo_is_ours():
            return None
        candidate = read_candidate([demo_folder()])
        references = self._fingerprints(candidate.files)
        with suppress(ModelNotFound, ModelBroken):
            record = self.present(DEMO)
            if (record.digest, record.files) == (manifest_digest(candidate, references), candidate.files):
                return record
        return self._register(DEMO, candidate, references, is_demo=True)

    def restore_demo(self) -> ModelRecord:
        """Register the demo model anew, whatever became of it. Raises `DemoMissing`."""
        candidate = read_candidate([demo_folder()])
        return self._register(DEMO, candidate, self._fingerprints(candidate.files), is_demo=True)

    def _demo_is_ours(self) -> bool:
        """Whether the name is free and was never used, or still names what was registered here as the demo."""
        with self._database.read() as session:
            row = Ledger(session, self.blobs).find(DEMO)
            mark = session.get(Mark, DEMO_MARK)
            return (row and row.digest) == (mark and mark.value)

    def _list(self) -> Sequence[ModelRecord]:
        with self._database.read() as session:
            return all_records(session, self.blobs)

    def _with_files(self, name: ModelName) -> tuple[ModelRecord, Sequence[Reference]]:
        with self._database.read() as session:
            row = Ledger(session, self.blobs).get(name)
            return record_of(row, self.blobs), [reference_of(file.blob, self.blobs) for file in row.files]

    def _fingerprints(
        self, files: Sequence[Path], progress: Progress | None = None, cancelled: Cancelled | None = None
    ) -> Sequence[Reference]:
        """Digests of the files; those unchanged since they were last read are not read again."""
        stamps = [stamped(path) for path in files]
        meter = Meter(sum(stamp.size for stamp in stamps), progress)
        references = []
        for path, stamp in zip(files, stamps, strict=True):
            reference = self._known(path, stamp)
            if reference:
                meter.advance(reference.stamp.size)
            else:
                reference = fingerprint(path, meter.advance, cancelled or (lambda: False))
            references.append(reference)
        return references

    def _known(self, path: Path, stamp: Stamp) -> Reference | None:
        with self._database.read() as session:
            blob = session.scalar(
                select(Blob).where(Blob.path == str(path), Blob.size == stamp.size, Blob.mtime_ns == stamp.mtime_ns)
            )
            return reference_of(blob, self.blobs) if blob else None

    def _register(
        self, name: ModelName, candidate: Candidate, references: Sequence[Reference], is_demo: bool = False
    ) -> ModelRecord:
        with self._database.write() as session:
            for reference in references:
                reference.check()  # nobody removes a file of the store while this transaction lasts
            ledger = Ledger(session, self.blobs)
            row = model_row(candidate, references)
            row.files = [
                ModelFile(role=WEIGHTS, ordinal=ordinal, blob=ledger.file(reference))
                for ordinal, reference in enumerate(references)
            ]
            row.bundle = ledger.bundle(candidate.bundle) if candidate.bundle else None
            ledger.put(row, name)
            if is_demo:
                session.merge(Mark(key=DEMO_MARK, value=row.digest))
            return record_of(row, self.blobs)


def _parsed(name: Name) -> ModelName:
    return name if isinstance(name, ModelName) else ModelName.parse(name)
