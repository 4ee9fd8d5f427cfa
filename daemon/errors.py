"""The daemon's errors, and the one place where any error becomes a status and a text.

DaemonError
├── BadRequest        the request makes no sense as it is                         400
│   └── NotSupported  it makes sense, but this model or this build cannot do it   400
├── TemplateFailed    the model's chat template refused or broke                  400
├── Unauthorized      an API key is missing or wrong                              401
├── Forbidden         not from here, or not by you                                403
├── ModelMissing      there is no model of that name                              404
├── TooSlow           the body of the request did not arrive in time             408
├── PullFailed        a model does not come from its hub, in Ollama's words       500
├── LoadStopped       the model was unloaded while it was being loaded            500
├── LoadStalled       loading a model came to a standstill                        500
├── Busy              too many requests are waiting                               503
└── Stopping          the daemon is going down                                    503
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from ktd.engine.client import EngineError, JobFailed, LoadRefused
from ktd.engine.messages import LoadProgress
from ktd.registry.errors import (
    DatabaseError,
    DemoMissing,
    DiskFailed,
    ImportCancelled,
    InvalidName,
    ModelBroken,
    ModelNotFound,
    NoSuchDownload,
    PullError,
    RegistryError,
)

_log = logging.getLogger(__name__)


class DaemonError(Exception):
    """The text is for the client's user."""

    status = 500


class BadRequest(DaemonError):
    status = 400


class NotSupported(BadRequest):
    pass


class TemplateFailed(DaemonError):
    status = 400


class Unauthorized(DaemonError):
    status = 401

    def __init__(self) -> None:
        super().__init__("this server wants an API key: send it as Authorization: Bearer KEY, or as x-api-key")


class Forbidden(DaemonError):
    status = 403


class ModelMissing(DaemonError):
    status = 404


class TooSlow(DaemonError):
    status = 408

    def __init__(self) -> None:
        super().__init__("the request did not arrive in time")


class PullFailed(DaemonError):
    pass


class LoadStopped(DaemonError):
    pass


class LoadStalled(DaemonError):
    def __init__(self, seconds: float, reached: LoadProgress) -> None:
        where = f"{reached.done} of {reached.total} bytes"
        super().__init__(f"loading the model stood still for {seconds:g} seconds, at {where}: it was given up")


class Busy(DaemonError):
    status = 503

    def __init__(self) -> None:
        super().__init__("server busy, please try again.  maximum pending requests exceeded")


class Stopping(DaemonError):
    status = 503

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


@dataclass(frozen=True, slots=True)
class Failure:
    """What the client is told, before a dialect gives it its shape."""

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


def failure_of(error: Exception) -> Failure:
    match error:
        case Busy():
            return Failure(error.status, str(error), {"Retry-After": "1"})
        case Unauthorized():
            return Failure(error.status, str(error), {"WWW-Authenticate": "Bearer"})
        case DaemonError():
            return Failure(error.status, str(error))
        case web.HTTPRequestEntityTooLarge():
            return Failure(413, "the request body is too large")
        case EngineError():
            return _engine_failure(error)
        case InvalidName():
            return Failure(400, "invalid model name")
        case ModelNotFound() | NoSuchDownload():
            return Failure(404, str(error))
        case ModelBroken() | DemoMissing() | DiskFailed() | DatabaseError() | PullError():
            return Failure(500, str(error))
        case ImportCancelled():
            return Failure(499, str(error))
        case RegistryError():
            return Failure(400, str(error))
    _log.error("a request failed unexpectedly", exc_info=error)
    return Failure(500, f"internal error: {type(error).__name__}: {error}")


def _engine_failure(error: EngineError) -> Failure:
    if isinstance(error, LoadRefused):
        # What cannot be loaded now cannot be loaded a second later: tell SDKs that retry every 500 not to.
        status = 400 if error.kind == "bad_option" else 500
        return Failure(status, str(error), {"x-should-retry": "false"})
    if isinstance(error, JobFailed) and error.kind != "engine":
        return Failure(400, str(error))
    return Failure(500, str(error))
