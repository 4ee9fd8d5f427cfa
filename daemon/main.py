"""The daemon from start to stop."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address

from aiohttp import web

from ktd import __version__
from ktd.daemon.app import application
from ktd.daemon.engine_port import Engine
from ktd.daemon.home import HomeError, claimed
from ktd.daemon.settings import Settings
from ktd.engine.client import ARCHITECTURES, PRETOKENIZERS, EngineClient
from ktd.registry.errors import RegistryError
from ktd.registry.store import Registry
from ktd.registry.supported import Supported

LAST_WORDS = 10.0  # seconds that running replies get to end when the daemon stops


def run(settings: Settings, *, until_stdin_closes: bool = False) -> int:
    """Serve until SIGTERM or SIGINT, or until stdin closes. Returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        with claimed(settings.home), _registry(settings) as registry:
            registry.ensure_demo()
            asyncio.run(_serve(settings, registry, until_stdin_closes))
    except (HomeError, RegistryError, AddressError) as error:
        print(f"ktd: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _registry(settings: Settings) -> Registry:
    supported = Supported(frozenset(ARCHITECTURES), frozenset(PRETOKENIZERS))
    return Registry.open(settings.home, settings.database_url, supported)


class AddressError(Exception):
    """The address cannot be listened on; the text says why."""


async def _serve(settings: Settings, registry: Registry, until_stdin_closes: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        threading.Thread(target=_await_stdin_end, args=(loop, stop), name="stdin", daemon=True).start()
    if not _is_loopback(settings.host) and not settings.api_key:
        print(f"warning: whoever reaches {settings.host} port {settings.port} can use this daemon", file=sys.stderr)
    async with listening(settings, registry, EngineClient()) as url:
        print(f"ktd {__version__} listens on {url} (home {settings.home})", flush=True)
        await stop.wait()


@asynccontextmanager
async def listening(settings: Settings, registry: Registry, engine: Engine) -> AsyncIterator[str]:
    """A daemon that answers at the URL given. Raises AddressError."""
    app = application(settings, registry, engine)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=LAST_WORDS)
    await runner.setup()
    try:
        yield await _listen(runner, settings)
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: Settings) -> str:
    site = web.TCPSite(runner, settings.host, settings.port)
    try:
        await site.start()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AddressError(f"cannot listen on {settings.host} port {settings.port}: {reason}") from error
    port = runner.addresses[0][1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _await_stdin_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """In a thread, because only a blocking read works on every kind of stdin."""
    with suppress(OSError):  # there is no stdin: as good as closed
        while os.read(0, 4096):
            pass
    loop.call_soon_threadsafe(stop.set)
