"""Transfer: the bytes of one file from some offset on, with every answer of the hub checked.

The hubs' own clients cannot stop at once, limit their rate, hash what arrives or go on after a kill -9 from the
very byte; they tell the address and the headers, and this asks for the range.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from ktd.registry.errors import AccessDenied, HubRefused, NotAtHub
from ktd.registry.sources.address import PublicResolver, check_redirect, headers_for, is_private_host, trusted_hosts
from ktd.registry.sources.hub import SHA256, Address, HubFile
from ktd.registry.sources.proxies import proxy_for

MOST_REDIRECTS = 5
LONGEST_WAIT = 120.0  # seconds of a Retry-After that are waited for
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=8, sock_read=30)  # a line silent for 30 s is dropped
REDIRECTS = (301, 302, 303, 307, 308)
EXPIRED = (401, 403, 404, 410)  # of a signed address


class RangeRefused(Exception):
    """The hub does not have the bytes from this offset on: what is here already is not the beginning of the file."""


class Broken(Exception):
    """The transfer ended early and may go on; `wait` is how many seconds the hub asked to be left alone."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Opened:
    """Bytes on their way, the first of which belongs at `offset`."""

    offset: int
    chunks: AsyncIterator[bytes]


class Transfer:
    """Connections to one hub and to the hosts it redirects to."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = URL(endpoint)
        private = is_private_host(self._endpoint.host or "")
        resolver = None if private else PublicResolver(trusted_hosts(endpoint))
        connector = aiohttp.TCPConnector(resolver=resolver, limit=0)
        self._led: dict[str, URL] = {}  # where an address led: a signed one serves many ranges
        self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        await self._session.close()

    @asynccontextmanager
    async def open(
        self, address: Address, file: HubFile, start: int = 0, end: int | None = None
    ) -> AsyncIterator[Opened]:
        """Ask for the bytes [start, end) of a file. The offset that is answered may be 0 instead of `start`.

        Raises `Broken`, `RangeRefused`, and for what no repetition mends `NotAtHub`, `AccessDenied`, `HubRefused`.
        """
        try:
            async with self._reply(address, file, start, end) as reply:
                offset = _offset(reply, file, start)
                most = (file.size if end is None else end) - offset
                yield Opened(offset, _chunks(reply, most))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, OSError) and not isinstance(
                error, aiohttp.ClientError | TimeoutError | ConnectionError
            ):
                raise
            raise Broken(str(error) or type(error).__name__) from error

    async def read(self, address: Address, file: HubFile, start: int = 0, end: int | None = None) -> bytes:
        """The bytes [start, end) of a file (all of it, unless told otherwise), in memory."""
        async with self.open(address, file, start, end) as opened:
            data = b"".join([chunk async for chunk in opened.chunks])
        if opened.offset + len(data) < (file.size if end is None else end):
            raise Broken(f"{file.path} ended after {opened.offset + len(data)} bytes")
        return data[start - opened.offset :]

    @asynccontextmanager
    async def _reply(
        self, address: Address, file: HubFile, start: int, end: int | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        origin = URL(address.url, encoded=True)
        url = self._led.get(address.url, origin)
        headers = {**address.headers, "Accept-Encoding": "identity"}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        for _ in range(MOST_REDIRECTS + 1):
            sent = headers_for(url, origin, headers)
            async with self._session.get(url, headers=sent, allow_redirects=False, proxy=proxy_for(url)) as reply:
                if reply.status in EXPIRED and address.url in self._led:
                    del self._led[address.url]
                    url = origin
                    continue
                if reply.status not in REDIRECTS:
                    _check_status(reply, file, foreign=url.origin() != origin.origin())
                    if url != origin:
                        self._led[address.url] = url
                    yield reply
                    return
                _check_linked(reply, file)
                url = _target(reply, url)
                check_redirect(self._endpoint, url)
        raise HubRefused(f"{origin.host} redirects more than {MOST_REDIRECTS} times for {file.path}")


def _target(reply: aiohttp.ClientResponse, url: URL) -> URL:
    location = reply.headers.get("Location", "")
    try:
        target = url.join(URL(location, encoded=True))
    except ValueError as error:
        raise HubRefused(f"{url.host} redirects to what is no address: {location!r:.200}") from error
    if not location or target.host is None:
        raise HubRefused(f"{url.host} redirects to nowhere ({location!r:.200})")
    return target


def _check_linked(reply: aiohttp.ClientResponse, file: HubFile) -> None:
    """Hugging Face says on its redirect which bytes it leads to; refuse others before they are fetched."""
    linked = reply.headers.get("X-Linked-Etag", "").removeprefix("W/").strip('"').lower()
    if file.sha256 and SHA256.fullmatch(linked) and linked != file.sha256:
        raise HubRefused(
            f"{file.path} has changed at the hub since it was listed: want sha256:{file.sha256}, "
            f"got sha256:{linked}; pull again"
        )


def _check_status(reply: aiohttp.ClientResponse, file: HubFile, foreign: bool) -> None:
    status, host = reply.status, reply.url.host
    if status in (200, 206):
        return
    if status == 416:
        raise RangeRefused
    if status == 429 or status >= 500 or status in (408, 425):
        raise Broken(f"{host} answers HTTP {status}", _retry_after(reply))
    if foreign and status in EXPIRED:
        raise Broken(f"{host} answers HTTP {status}")  # a signed address that has expired; a new one is asked for
    if status in (401, 403):
        raise AccessDenied(f"{host} refuses {file.path} (HTTP {status}): a token that may read it is needed")
    if status == 404:
        raise NotAtHub(f"{host} lists {file.path} but does not have it")
    raise HubRefused(f"{host} answers HTTP {status} for {file.path}")


def _retry_after(reply: aiohttp.ClientResponse) -> float:
    text = reply.headers.get("Retry-After", "")
    return min(float(text), LONGEST_WAIT) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else 0.0


def _offset(reply: aiohttp.ClientResponse, file: HubFile, start: int) -> int:
    """Where the first byte of the body belongs."""
    if reply.headers.get("Content-Encoding", "identity") != "identity":
        raise HubRefused(f"{reply.url.host} sends {file.path} compressed, which was not asked for")
    if reply.status == 200:
        length = reply.content_length
        if length is not None and length != file.size:
            raise HubRefused(f"{file.path} has {length} bytes at {reply.url.host}, but was listed with {file.size}")
        return 0
    match = re.fullmatch(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", reply.headers.get("Content-Range", ""), re.ASCII)
    if match is None or int(match[1]) != start or match[3] not in ("*", str(file.size)):
        shown = reply.headers.get("Content-Range", "no Content-Range")
        raise HubRefused(f"{reply.url.host} answers {shown!r:.100} to a request for {file.path} from byte {start}")
    return start


async def _chunks(reply: aiohttp.ClientResponse, most: int) -> AsyncIterator[bytes]:
    """The body, never more than `most` bytes of it."""
    async for chunk in reply.content.iter_any():
        yield chunk[:most]
        most -= len(chunk)
        if most <= 0:
            return
