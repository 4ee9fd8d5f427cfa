"""The engine's errors.

EngineError
├── LoadRefused    the model cannot be loaded; nothing is kept of it
├── JobFailed      one request failed; the worker goes on
├── DeviceLost     a GPU faulted: nothing on it can be trusted any more, and the worker ends
└── WorkerDied     the worker process ended without being asked to

A worker raises the first two and sends them as `Refused` and `Failed`; the client raises them again for the
daemon. (`GGUFError`, of a file that is no GGUF, reaches the daemon as `LoadRefused` of kind "bad_file".)
"""

from ktd.engine.messages import FailureKind, RefusalKind


class EngineError(Exception):
    """The text is for people: it names what was wrong, with the figures."""


class LoadRefused(EngineError):
    """`short` is the bytes of memory that were missing, where that was the reason."""

    def __init__(self, kind: RefusalKind, message: str, short: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.short = short


class JobFailed(EngineError):
    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class DeviceLost(EngineError):
    """Says what the device said."""


class WorkerDied(EngineError):
    """Says how it ended (exit code or signal) and the last lines it wrote."""
