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
├── CreateRefused      what was asked for cannot be made of what there is
│   └── ModelfileError a Modelfile that cannot be read
├── PullError          a model does not come from its hub
│   ├── NotAtHub       no hub has a repository, revision or file of this name
│   ├── NoSuchQuant    the repository has no such quantisation, or several; the text lists what there is
│   ├── AccessDenied   the hub wants a token, or another one
│   ├── HubUnreachable no hub answers, or it broke off too often
│   ├── HubRefused     a hub's answer is wrong or dangerous
│   ├── BadDownload    the bytes are not those of the digest, twice
│   ├── NoSpace        the disk cannot hold it; the text has both figures
│   └── PullStopped    somebody paused or cancelled it
├── NoSuchDownload     no unfinished download of this name
├── DiskFailed         a file of the store cannot be written
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


class CreateRefused(RegistryError):
    pass


class ModelfileError(CreateRefused):
    pass


class PullError(RegistryError):
    pass


class NotAtHub(PullError):
    pass


class NoSuchQuant(PullError):
    pass


class AccessDenied(PullError):
    pass


class HubUnreachable(PullError):
    pass


class HubRefused(PullError):
    pass


class BadDownload(PullError):
    pass


class NoSpace(PullError):
    pass


class PullStopped(PullError):
    pass


class NoSuchDownload(RegistryError):
    pass


class DiskFailed(RegistryError):
    pass


class DemoMissing(RegistryError):
    pass


class DatabaseError(RegistryError):
    pass
