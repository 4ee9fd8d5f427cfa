"""What a client may do to a connection: how slow, how large, how many. Waiting times are made short for the tests."""

import asyncio
import hashlib
import io
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from fake_engine import FakeEngine
from until import until

from ktd.daemon import bodies, door
from ktd.daemon.listening import ListenError, listening
from ktd.daemon.settings import Settings
from ktd.registry.store import Registry

CERTIFICATE = Path(__file__).parents[1] / "support" / "localhost.pem"
SOON = 0.2  # seconds


@asynccontextmanager
async def connected(daemon: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    url = urlsplit(daemon.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What still comes before the end; a limit only ends a broken test."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize("said", [b"", b"GET /api/tags HTTP/1.1\r\nHost: loc"])
async def test_headers_must_come_in_time(daemon: Any, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(door, "HEAD_SECONDS", SOON)
    async with connected(daemon) as (reader, writer):
        writer.write(said)
        assert await closed(reader) == b""


async def test_dripping_headers_are_not_progress(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "HEAD_SECONDS", SOON)
    async with connected(daemon) as (reader, writer):
        writer.write(b"GET /api/tags HTTP/1.1\r\nX: ")
        end = asyncio.create_task(closed(reader))
        while not end.done():
            writer.write(b"X")
            await asyncio.sleep(SOON / 10)
        assert await end == b""


async def test_a_body_must_come_in_time(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SECONDS", SOON)
    async with connected(daemon) as (reader, writer):
        writer.write(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b'{"error":"the request did not arrive in time"}' in await reader.read(100)


async def test_bodies_have_a_bound_together(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on its way counts, and what was answered does not."""
    monkeypatch.setattr(bodies, "MOST", 1000)
    ask = {"model": "demo", "prompt": "x" * 700}
    for _ in range(3):
        assert (await daemon.post("/api/generate", ask | {"stream": False}))[0] == 200
    async with connected(daemon) as (_, writer):
        writer.write(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n" + b" " * 500)
        refusal = await answered(daemon, ask, 503)  # once what was sent has come
        assert refusal["error"].startswith("server busy")
    await answered(daemon, ask, 200)  # once the daemon has seen it go


async def answered(daemon: Any, ask: Any, wanted: int) -> Any:
    """The first reply of this status to a request that is made again and again."""
    async with asyncio.timeout(20):
        while True:
            status, reply = await daemon.post("/api/generate", ask | {"stream": False})
            if status == wanted:
                return reply


async def test_an_upload_must_not_stop(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "SILENCE_SECONDS", SOON)
    async with connected(daemon) as (reader, writer):
        digest = "sha256:" + "0" * 64
        writer.write(f"POST /api/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab".encode())
        assert await closed(reader) == b""
    assert list((daemon.settings.home / "blobs").glob("*0000*")) == []


async def test_an_upload_may_take_long(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "SILENCE_SECONDS", 2.0)
    monkeypatch.setattr(bodies, "SECONDS", 0.1)
    data = b"some bytes"

    async def slowly() -> AsyncIterator[bytes]:
        for at in range(len(data)):
            await asyncio.sleep(0.05)
            yield data[at : at + 1]

    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    async with daemon.http.post(f"{daemon.url}/api/blobs/{digest}", data=slowly()) as reply:
        assert reply.status == 201


async def test_an_answer_must_be_read(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that takes nothing fills the buffers of both kernels, then its time runs, then its place is free."""
    monkeypatch.setattr(door, "SILENCE_SECONDS", SOON)
    daemon.engine.answer = ["x" * (1 << 20)] * 64
    async with connected(daemon) as (_, writer):
        body = json.dumps({"model": "demo", "prompt": "a", "raw": True}).encode()
        head = f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await until(lambda: bool(daemon.engine.running))
        await until(lambda: not daemon.engine.running)
    assert 0 < daemon.engine.produced < 64


async def test_what_is_too_long_is_refused_before_it_comes(daemon: Any) -> None:
    async with connected(daemon) as (reader, writer):
        writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {1 << 40}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 403 ")
    async with connected(daemon) as (reader, writer):
        writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nHost: [::1]\r\nContent-Length: {1 << 40}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")


async def test_more_connections_than_allowed_are_told_so(start: Callable[..., Any]) -> None:
    daemon = await start(max_connections=2)
    async with connected(daemon), connected(daemon) as (_, idle):
        await asyncio.sleep(0.05)
        async with connected(daemon) as (reader, _):
            refusal = await closed(reader)
        head, _, body = refusal.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 1" in head
        assert json.loads(body) == {"error": "server busy, please try again.  too many connections"}
        idle.close()
        await idle.wait_closed()
        await asyncio.sleep(0.05)
        assert await daemon.get("/api/tags")


GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,  # TLS, to a port that does not speak it
    b"\xff\xfe\0\0\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(10_000)) + b"\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("bytes", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage_is_a_bad_request(daemon: Any, bytes: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with connected(daemon) as (reader, writer):
        writer.write(bytes)
        reply = await closed(reader)
    assert reply == b"" or reply.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ", b"HTTP/1.1 403 "))
    assert caplog.records == []
    assert await daemon.get("/api/version")


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize(
    "body",
    [b"[" * 1_000_000, b'{"messages":' * 100_000, b'{"model":"\xff\xfe"}', b"\0", b'{"model":"demo","messages":1e999}',
     b"9" * 1_000_000],
    ids=range(6),
)  # fmt: skip
async def test_a_broken_body_is_a_bad_request(
    daemon: Any, path: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with daemon.http.post(daemon.url + path, data=io.BytesIO(body)) as reply:
        assert reply.status == 400, await reply.text()
    assert caplog.records == []


async def test_https(start: Callable[..., Any]) -> None:
    daemon = await start(tls_cert=CERTIFICATE)
    assert daemon.url.startswith("https://")
    trusted = ssl.create_default_context(cafile=CERTIFICATE)
    async with daemon.http.get(f"{daemon.url}/api/version", ssl=trusted) as reply:
        assert reply.status == 200
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await daemon.http.get(f"{daemon.url}/api/version")


@pytest.mark.parametrize("key", [None, CERTIFICATE.with_name("demo.py")])
async def test_a_certificate_that_cannot_be_used(
    settings: Settings, registry: Registry, tmp_path: Path, key: Path | None
) -> None:
    pem = CERTIFICATE.read_text()
    cert = tmp_path / "cert.pem"
    cert.write_text(pem[: pem.index("-----BEGIN PRIVATE KEY")])
    chosen = Settings(home=settings.home, port=0, tls_cert=cert, tls_key=key)
    with pytest.raises(ListenError, match=r"the certificate .*cert\.pem cannot be used"):
        async with listening(chosen, registry, FakeEngine()):
            pass
