"""The daemon from start to stop."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from ipaddress import ip_address

from ktd import __version__
from ktd.daemon import preload
from ktd.daemon.access_log import AccessLogError
from ktd.daemon.chat.go.render import flaw
from ktd.daemon.home import HomeError, claimed
from ktd.daemon.listening import ListenError, listening
from ktd.daemon.settings import Settings
from ktd.engine.client import ARCHITECTURES, PRETOKENIZERS, EngineClient
from ktd.registry.errors import RegistryError
from ktd.registry.record import ModelRecord
from ktd.registry.store import Registry
from ktd.registry.supported import Supported


def run(settings: Settings, *, until_stdin_closes: bool = False) -> int:
    """Serve until SIGTERM or SIGINT, or until stdin closes. Returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        with claimed(settings.home), _registry(settings) as registry:
            registry.ensure_demo()
            first = preload.registered(settings, registry)
            asyncio.run(_serve(settings, registry, first, until_stdin_closes))
    except KeyboardInterrupt:  # before it listens, when files are read
        return 128 + signal.SIGINT
    except (HomeError, RegistryError, AccessLogError, ListenError) as error:
        print(f"ktd: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _registry(settings: Settings) -> Registry:
    supported = Supported(frozenset(ARCHITECTURES), frozenset(PRETOKENIZERS), flaw)
    return Registry.open(settings.home, settings.database_url, supported)


async def _serve(settings: Settings, registry: Registry, first: ModelRecord | None, until_stdin_closes: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        threading.Thread(target=_await_stdin_end, args=(loop, stop), name="stdin", daemon=True).start()
    if not _is_loopback(settings.host) and not settings.api_key:
        print(f"warning: whoever reaches {settings.host} port {settings.port} can use this daemon", file=sys.stderr)
    async with listening(settings, registry, EngineClient(), first) as url:
        gc.freeze()  # else each full collection looks at all modules too, and keeps every stream waiting for 40 ms
        print(f"ktd {__version__} listens on {url} (home {settings.home})", flush=True)
        await stop.wait()


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
