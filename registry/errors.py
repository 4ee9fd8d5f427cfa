"""Everything that goes wrong in this room.

RegistryError
├── InvalidName        a model name outside the grammar
├── InvalidDigest      a digest that is not sha256:<64 hex>
├── DigestMismatch     bytes that are not those of their digest
├── ModelNotFound      no model of this name
├── ModelBroken        a model whose files are not as they were registered
│   ├── FileGone
│   └── FileChanged
├── ImportRefused      what was given cannot become a model
│   └── BundleRefused  its config bundle is unreadable or belongs to another model
├── ImportCancelled    the caller asked to stop
├── DemoMissing        this installation lacks the demo model's files
└── DatabaseError      the database cannot be opened, read or written
"""


class RegistryError(Exception):
    """Base of this room's errors; the message is fit to be shown to the user."""


class InvalidName(RegistryError):
    pass


class InvalidDigest(RegistryError):
    pass


class DigestMismatch(RegistryError):
    pass


class ModelNotFound(RegistryError):
    def __init__(self, name: object) -> None:
        super().__init__(f"model '{name}' not found")


class ModelBroken(RegistryError):
    pass


class FileGone(ModelBroken):
    pass


class FileChanged(ModelBroken):
    pass


class ImportRefused(RegistryError):
    pass


class BundleRefused(ImportRefused):
    pass


class ImportCancelled(RegistryError):
    pass


class DemoMissing(RegistryError):
    pass


class DatabaseError(RegistryError):
    pass
