"""The daemon at its address, from the first connection to the last."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.http import HttpProcessingError

from ktd.daemon.app import application
from ktd.daemon.door import HEAD_SECONDS, IDLE_SECONDS, Doors
from ktd.daemon.engine_port import Engine
from ktd.daemon.settings import Settings
from ktd.registry.record import ModelRecord
from ktd.registry.store import Registry

BACKLOG = 1024  # connections that the kernel keeps until the daemon takes them
LAST_WORDS = 10.0  # seconds that running replies get to end when the daemon stops


_log = logging.getLogger(__name__)
_log.addFilter(lambda record: not _is_garbage(record))


class ListenError(Exception):
    """The address cannot be listened on, or the certificate not used; the text says why."""


@asynccontextmanager
async def listening(
    settings: Settings, registry: Registry, engine: Engine, first: ModelRecord | None = None
) -> AsyncIterator[str]:
    """A daemon that answers at the URL given. `first` is loaded at once, to stay. Raises ListenError."""
    app = application(settings, registry, engine, first)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_log,
        handler_cancellation=True,
        shutdown_timeout=LAST_WORDS,
        keepalive_timeout=IDLE_SECONDS,
    )
    await runner.setup()
    server: asyncio.Server | None = None
    try:
        server = await _listen(runner, settings)
        yield _url(server, settings)
    finally:
        if server is not None:
            server.close()
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: Settings) -> asyncio.Server:
    assert runner.server is not None
    doors = Doors(runner.server, settings.max_connections)
    certificate = _certificate(settings)
    timeout = HEAD_SECONDS if certificate else None
    try:
        return await asyncio.get_running_loop().create_server(
            doors, settings.host, settings.port, ssl=certificate, ssl_handshake_timeout=timeout, backlog=BACKLOG
        )
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ListenError(f"cannot listen on {settings.host} port {settings.port}: {reason}") from error


def _certificate(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, _no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ListenError(f"the certificate {settings.tls_cert} cannot be used: {error}") from error
    return context


def _no_password() -> str:
    """For a key that is encrypted: nobody is there to be asked."""
    raise ValueError("its key has a password")


def _url(server: asyncio.Server, settings: Settings) -> str:
    port = server.sockets[0].getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{port}"


def _is_garbage(record: logging.LogRecord) -> bool:
    """What is not HTTP gets its 400; anyone could fill the log with it."""
    return record.exc_info is not None and isinstance(record.exc_info[1], HttpProcessingError)
