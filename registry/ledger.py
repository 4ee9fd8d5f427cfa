"""Ledger: what one transaction changes. Rows of files and bundles live as long as a model uses them."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from ktd.registry.blobs import Blobs
from ktd.registry.bundle import Bundle as ConfigBundle
from ktd.registry.errors import ModelBroken, ModelNotFound
from ktd.registry.names import ModelName
from ktd.registry.reference import Reference
from ktd.registry.rows import name_columns, reference_of
from ktd.registry.tables import STORED, Blob, Bundle, Model, ModelFile


class Ledger:
    def __init__(self, session: Session, blobs: Blobs) -> None:
        self._session = session
        self._blobs = blobs

    def find(self, name: ModelName) -> Model | None:
        return self._session.scalar(select(Model).where(Model.key == name.key))

    def get(self, name: ModelName) -> Model:
        """Raises `ModelNotFound`."""
        row = self.find(name)
        if row is None:
            raise ModelNotFound(name)
        return row

    def put(self, row: Model, name: ModelName) -> None:
        """Add a model under a name, in the case known names have, in place of what has that name now."""
        columns = select(Model.host, Model.namespace, Model.model, Model.tag)
        known = [ModelName(*parts) for parts in self._session.execute(columns)]
        for column, value in name_columns(name.cased_like(known)).items():
            setattr(row, column, value)
        old = self.find(name)
        used = self._forget(old) if old else []
        self._session.add(row)
        self._session.flush()
        self._release(used)

    def remove(self, row: Model) -> None:
        self._release(self._forget(row))

    def file(self, reference: Reference) -> Blob:
        """The row of a file. Models that lost another copy of the same bytes are given this one."""
        same = self._session.scalars(select(Blob).where(Blob.digest == reference.digest)).all()
        path = STORED if reference.path == self._blobs.path(reference.digest) else str(reference.path)
        blob = next((blob for blob in same if blob.path == path), None)
        if blob is None:
            blob = Blob(digest=reference.digest, path=path)
            self._session.add(blob)
        blob.size, blob.mtime_ns = reference.stamp.size, reference.stamp.mtime_ns
        self._session.flush()
        for other in same:
            if other is not blob and not self._intact(other):
                self._move(other, blob)
        return blob

    def bundle(self, found: ConfigBundle) -> Bundle:
        """The row of a bundle; takes the place of rows of the same files whose directory is gone."""
        rows = self._session.scalars(select(Bundle)).all()
        bundle = next((row for row in rows if row.path == str(found.path)), None)
        if bundle is None:
            bundle = Bundle(path=str(found.path))
            self._session.add(bundle)
        bundle.files = found.files
        self._session.flush()
        for other in rows:
            if other is not bundle and other.files == found.files and not Path(other.path).is_dir():
                self._session.execute(update(Model).where(Model.bundle_id == other.id).values(bundle_id=bundle.id))
                self._session.delete(other)
        return bundle

    def _intact(self, blob: Blob) -> bool:
        try:
            reference_of(blob, self._blobs).check()
        except ModelBroken:
            return False
        return True

    def _move(self, lost: Blob, found: Blob) -> None:
        self._session.execute(update(ModelFile).where(ModelFile.blob_id == lost.id).values(blob_id=found.id))
        self._session.delete(lost)

    def _forget(self, row: Model) -> list[Blob | Bundle]:
        """Delete a model's row; what it used is returned for `_release`."""
        used: list[Blob | Bundle] = [file.blob for file in row.files]
        if row.bundle:
            used.append(row.bundle)
        self._session.delete(row)
        self._session.flush()
        return used

    def _release(self, used: Sequence[Blob | Bundle]) -> None:
        """Delete those files and bundles that no model uses any more; a user's own files stay where they are.

        Files of the store are unlinked before the commit: whoever stores the same bytes again waits for the write
        lock first, and so never finds its new file removed.
        """
        for item in used:
            users = ModelFile.blob_id if isinstance(item, Blob) else Model.bundle_id
            if self._session.scalar(select(exists().where(users == item.id))):
                continue
            self._session.delete(item)
            if isinstance(item, Bundle):
                self._blobs.discard_bundle(Path(item.path))
            elif item.path == STORED:
                self._blobs.discard(item.digest)
