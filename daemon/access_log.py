"""The access log: who asked for what, and what became of it, a line of JSON each.

What a request says is not in it: no query, no header but the client's name, no body. So no key, prompt or answer is.
"""

import json
import logging
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from ktd.daemon import values

SHOWN = 200  # characters of what clients choose
CLIENT_CLOSED = 499  # nginx's number for it

_log = logging.getLogger(__name__)


class AccessLogError(Exception):
    """The file cannot be written; the text says why."""


class AccessLog:
    def __init__(self, path: Path) -> None:
        """Raises AccessLogError."""
        self._file = None if path == values.STDERR else LogFile(path)

    def middleware(self) -> Middleware:
        @web.middleware
        async def access_log(request: web.Request, handler: Handler) -> web.StreamResponse:
            began, status, sent = time.perf_counter(), CLIENT_CLOSED, 0
            try:
                response = await handler(request)
                status, sent = response.status, response.body_length or response.content_length or 0
                return response
            finally:
                self._write(_record(request, status, sent, time.perf_counter() - began))

        return access_log

    def _write(self, record: dict[str, object]) -> None:
        line = json.dumps(record) + "\n"
        if self._file is None:
            sys.stderr.write(line)
            sys.stderr.flush()
        else:
            self._file.append(line.encode())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class LogFile:
    """Only ever appended to; opened anew when it was moved away, as logrotate does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fails = False
        try:
            self._descriptor = self._open()
        except OSError as error:
            raise AccessLogError(f"{path} cannot be written: {error.strerror}") from error

    def append(self, line: bytes) -> None:
        """A line that cannot be written is lost: requests go on when the disk is full."""
        try:
            if self._moved():
                old, self._descriptor = self._descriptor, self._open()
                os.close(old)
            os.write(self._descriptor, line)
            self._fails = False
        except OSError as error:
            if not self._fails:
                _log.warning("%s cannot be written: %s", self._path, error.strerror)
            self._fails = True

    def close(self) -> None:
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _moved(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True


def _record(request: web.Request, status: int, sent: int, seconds: float) -> dict[str, object]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "client": request.remote,
        "method": request.method,
        "path": request.path[:SHOWN],
        "status": status,
        "bytes": sent,
        "seconds": round(seconds, 4),
        "agent": request.headers.get(hdrs.USER_AGENT, "")[:SHOWN],
    }
