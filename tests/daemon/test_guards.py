"""Who gets past the door."""

from collections.abc import Callable
from typing import Any

import pytest

GOOD_HOSTS = [
    "localhost", "localhost:11434", "127.0.0.1:1", "[::1]:11434", "192.168.1.7:11434", "10.0.0.1", "0.0.0.0:11434",
    "box.local", "host.docker.internal:11434", "a.localhost", "LOCALHOST", "172.17.0.2", "localhost.",
]  # fmt: skip
BAD_HOSTS = [
    "evil.example",
    "evil.example:11434",
    "8.8.8.8",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "[::1",
]


async def status(daemon: Any, method: str = "GET", path: str = "/api/tags", **headers: str) -> int:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with daemon.http.request(method, daemon.url + path, headers=names) as reply:
        code: int = reply.status
        assert code != 403 or await reply.read() == b""
        return code


@pytest.mark.parametrize("host", GOOD_HOSTS)
async def test_names_of_this_machine(daemon: Any, host: str) -> None:
    assert await status(daemon, Host=host) == 200


@pytest.mark.parametrize("host", BAD_HOSTS)
async def test_other_names_are_refused_on_every_route(daemon: Any, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/api/tags"), ("POST", "/api/chat"), ("GET", "/nothing"),
                         ("POST", "/v1/chat/completions"), ("OPTIONS", "/api/chat")):  # fmt: skip
        assert await status(daemon, method, path, Host=host) == 403


async def test_the_check_does_not_depend_on_the_address(start: Callable[..., Any]) -> None:
    daemon = await start(host="0.0.0.0", hosts=("gpu.example",))
    daemon.url = daemon.url.replace("0.0.0.0", "127.0.0.1")
    assert await status(daemon, Host="evil.example") == 403
    assert await status(daemon, Host="gpu.example:80") == 200


GOOD_ORIGINS = [
    "http://localhost", "https://localhost:3000", "http://127.0.0.1:5", "http://0.0.0.0", "app://obsidian.md",
    "file://", "tauri://localhost", "vscode-webview://abc",
]  # fmt: skip
BAD_ORIGINS = [
    "https://evil.example", "null", "http://localhost.evil.example", "http://evil.example/localhost", "https://localhost:",
    "chrome-extension://abc", "http://localhost:80.evil.example", "",
]  # fmt: skip


@pytest.mark.parametrize("origin", GOOD_ORIGINS)
async def test_known_origins_may_read(daemon: Any, origin: str) -> None:
    async with daemon.http.get(daemon.url + "/api/version", headers={"Origin": origin}) as reply:
        assert reply.status == 200
        assert reply.headers["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize("origin", BAD_ORIGINS)
async def test_unknown_origins_are_refused_whatever_they_send(daemon: Any, origin: str) -> None:
    assert await status(daemon, Origin=origin) == 403
    headers = {"Origin": origin, "Content-Type": "text/plain"}
    async with daemon.http.delete(daemon.url + "/api/delete", json={"model": "demo"}, headers=headers) as reply:
        assert (reply.status, await reply.read()) == (403, b"")
    assert len((await daemon.get("/api/tags"))["models"]) == 1


async def test_a_page_of_the_daemon_itself_is_known(daemon: Any) -> None:
    assert await status(daemon, Host="box.local:11434", Origin="http://box.local:11434") == 200
    assert await status(daemon, Host="box.local:11434", Origin="http://box.local:9") == 403


async def test_more_origins(start: Callable[..., Any]) -> None:
    daemon = await start(origins=("https://ui.example", "chrome-extension://*"))
    assert await status(daemon, Origin="https://ui.example") == 200
    assert await status(daemon, Origin="chrome-extension://abc") == 200
    assert await status(daemon, Origin="https://evil.example") == 403


async def test_any_origin(start: Callable[..., Any]) -> None:
    daemon = await start(origins=("*",))
    async with daemon.http.get(daemon.url + "/", headers={"Origin": "https://any.example"}) as reply:
        assert reply.headers["Access-Control-Allow-Origin"] == "*"


async def test_preflight(daemon: Any) -> None:
    headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    async with daemon.http.options(daemon.url + "/api/chat", headers=headers) as reply:
        assert reply.status == 204
        assert reply.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        assert "DELETE" in reply.headers["Access-Control-Allow-Methods"]
        allowed = reply.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert {"authorization", "content-type", "x-stainless-lang", "x-api-key", "anthropic-version"} <= set(allowed)
        assert reply.headers["Access-Control-Max-Age"] == "43200"
    assert await status(daemon, "OPTIONS", "/api/chat") == 204


async def test_errors_and_streams_are_marked_for_browsers(daemon: Any) -> None:
    headers = {"Origin": "http://localhost"}
    messages = [{"role": "user", "content": "Hi"}]
    for model, code in (("nope", 404), ("demo", 200)):
        body = {"model": model, "messages": messages}
        async with daemon.http.post(daemon.url + "/api/chat", json=body, headers=headers) as reply:
            assert reply.status == code
            assert reply.headers["Access-Control-Allow-Origin"] == "http://localhost"
