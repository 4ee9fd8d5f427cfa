"""A line of JSON for each request, and nothing in it that a client said in confidence."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine

from ktd.daemon import values
from ktd.daemon.access_log import AccessLogError
from ktd.daemon.app import application
from ktd.daemon.settings import Settings
from ktd.registry.store import Registry


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_line_for_each_request(start: Callable[..., Any], tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    daemon = await start(access_log=log, api_key="the-secret-key")
    keyed = {"Authorization": "Bearer the-secret-key", "User-Agent": "agent\n{}"[:5]}
    asked = {"model": "demo", "prompt": "a private question", "stream": False}
    await daemon.post("/api/generate?token=hidden", asked, headers=keyed)
    await daemon.post("/api/chat", {"model": "none"}, headers=keyed)
    await daemon.post("/api/chat", {})
    async with daemon.http.get(daemon.url + "/", headers={"Host": "evil.example"}):
        pass
    written = lines(log)
    assert [(line["method"], line["path"], line["status"]) for line in written] == [
        ("POST", "/api/generate", 200),
        ("POST", "/api/chat", 404),
        ("POST", "/api/chat", 401),
        ("GET", "/", 403),
    ]
    assert written[0]["client"] == "127.0.0.1" and written[0]["bytes"] > 100 and written[0]["agent"] == "agent"
    for secret in ("the-secret-key", "a private question", "hidden"):
        assert secret not in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


async def test_a_moved_log_is_begun_anew(start: Callable[..., Any], tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    daemon = await start(access_log=log)
    await daemon.get("/api/tags")
    log.rename(tmp_path / "access.log.1")
    await daemon.get("/api/tags")
    assert len(lines(log)) == len(lines(tmp_path / "access.log.1")) == 1


async def test_a_full_disk_ends_no_request(start: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    daemon = await start(access_log=Path("/dev/full"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await daemon.get("/api/version")
    assert [record.getMessage() for record in caplog.records] == [
        "/dev/full cannot be written: No space left on device"
    ]


async def test_standard_error(start: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    daemon = await start(access_log=values.STDERR)
    await daemon.get("/api/version")
    assert json.loads(capsys.readouterr().err)["path"] == "/api/version"


def test_a_log_that_cannot_be_written(settings: Settings, registry: Registry, tmp_path: Path) -> None:
    chosen = Settings(home=settings.home, access_log=tmp_path / "none" / "access.log")
    with pytest.raises(AccessLogError, match="cannot be written: No such file"):
        application(chosen, registry, FakeEngine())
