"""A forward proxy on loopback: tunnels (CONNECT) and plain requests, to hosts that only it knows, for who has its
password."""

import asyncio
import base64
import threading
from contextlib import suppress
from urllib.parse import urlsplit

REFUSED = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"


class ForwardProxy:
    """`url` has the password. Use it as a context manager."""

    def __init__(self, hosts: dict[str, str]) -> None:
        """`hosts` maps "name:port" to the URL of what is there."""
        self.hosts = hosts
        self.asked: list[tuple[str, str]] = []  # method, and "name:port" or URL
        self.refused = 0
        self.url = ""
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> "ForwardProxy":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.url = f"http://user:pass@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve_one(reader, writer)
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().removesuffix("\r\n\r\n").split("\r\n")
        method, target, version = first.split(" ")
        wanted = base64.b64encode(b"user:pass").decode()
        if f"proxy-authorization: basic {wanted}".lower() not in [line.lower() for line in lines]:
            self.refused += 1
            writer.write(REFUSED)
            return
        self.asked.append((method, target))
        where = target if method == "CONNECT" else f"{urlsplit(target).hostname}:{urlsplit(target).port or 80}"
        address = urlsplit(self.hosts[where])
        there, onwards = await asyncio.open_connection(address.hostname, address.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = target.partition(urlsplit(target).netloc)[2]
            kept = [line for line in lines if not line.lower().startswith(("proxy-", "connection:"))]
            onwards.write("\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""]).encode())
        try:
            await asyncio.gather(_pass(reader, onwards), _pass(there, writer))
        finally:
            onwards.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes until one side ends; then the other one's are of no use either."""
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
