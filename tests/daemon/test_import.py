"""The routes of the machine's own command line."""

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

HEADER = "X-Ktd-Local-Key"


@pytest.fixture
def key(daemon: Any) -> dict[str, str]:
    return {HEADER: (daemon.settings.home / "local.key").read_text()}


@pytest.fixture
def own(daemon: Any, tmp_path: Path) -> Path:
    path = tmp_path / "own-model.gguf"
    shutil.copy(daemon.registry.find("demo").files[0], path)
    return path


async def lines(daemon: Any, body: Any, headers: dict[str, str]) -> list[Any]:
    async with daemon.http.post(daemon.url + "/api/import", json=body, headers=headers) as reply:
        assert (reply.status, reply.headers["Content-Type"]) == (200, "application/x-ndjson")
        return [json.loads(line) async for line in reply.content]


async def test_a_file_is_imported_where_it_lies(daemon: Any, key: dict[str, str], own: Path) -> None:
    *progress, last = await lines(daemon, {"paths": [str(own)], "name": "mine"}, key)
    assert last == {"status": "success", "model": "mine:latest"}
    assert all(line["completed"] <= line["total"] == own.stat().st_size for line in progress)
    assert daemon.registry.find("mine").files == (own,)


async def test_a_name_is_made_from_the_file(daemon: Any, key: dict[str, str], own: Path) -> None:
    body = {"paths": [str(own)], "name": None, "config": None}
    assert (await lines(daemon, body, key))[-1]["model"].startswith("own-model")


async def test_the_demo_comes_back(daemon: Any, key: dict[str, str]) -> None:
    daemon.registry.delete("demo")
    assert (await lines(daemon, {"demo": True}, key))[-1] == {"status": "success", "model": "demo:latest"}
    assert daemon.registry.find("demo")


async def test_files_of_a_model(daemon: Any, key: dict[str, str]) -> None:
    found = await daemon.get("/api/files?model=demo", headers=key)
    assert found == {"files": [str(path) for path in daemon.registry.find("demo").files]}
    async with daemon.http.get(daemon.url + "/api/files?model=nope", headers=key) as reply:
        assert reply.status == 404


async def test_what_is_no_model_is_refused_with_the_reason(daemon: Any, key: dict[str, str], tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF nonsense")
    for path in (bad, tmp_path / "missing.gguf", Path("/dev/zero")):
        async with daemon.http.post(daemon.url + "/api/import", json={"paths": [str(path)]}, headers=key) as reply:
            assert reply.status == 400
            assert path.name in (await reply.json())["error"]


@pytest.mark.parametrize(
    ("body", "text"),
    [({}, "paths is required"), ({"paths": ["model.gguf"]}, "not an absolute path"),
     ({"paths": ["/a\0b"]}, "not an absolute path"), ({"paths": "x"}, "paths")],
)  # fmt: skip
async def test_requests_that_make_no_sense(daemon: Any, key: dict[str, str], body: Any, text: str) -> None:
    status, answer = await daemon.post("/api/import", body, headers=key)
    assert status == 400
    assert text in answer["error"]


@pytest.mark.parametrize(
    "headers",
    [{}, {HEADER: ""}, {HEADER: "wrong"}, {HEADER: "é"}, {"Origin": "http://localhost"}],
    ids=["none", "empty", "wrong", "not ascii", "from a page"],
)
async def test_only_the_same_user_may(daemon: Any, key: dict[str, str], own: Path, headers: dict[str, str]) -> None:
    given = key | headers if "Origin" in headers else headers
    body = {"paths": [str(own)], "name": "mine"}
    status, answer = await daemon.post("/api/import", body, headers=given)
    assert status == 403
    assert "only the ktd command" in answer["error"]
    async with daemon.http.get(daemon.url + "/api/files?model=demo", headers=given) as reply:
        assert reply.status == 403
    assert len((await daemon.get("/api/tags"))["models"]) == 1


async def test_the_key_is_for_this_user_only(daemon: Any) -> None:
    path = daemon.settings.home / "local.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) >= 32
