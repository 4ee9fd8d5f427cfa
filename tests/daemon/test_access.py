"""API keys on every route and in every dialect, and the routes that tell how the daemon is."""

import logging
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ktd.daemon.app import ROUTES
from ktd.daemon.choices import choose
from ktd.daemon.settings import SettingsError

USE, ADMIN = "use-0123456789", "admin-0123456789"
ASK: Any = [{"role": "user", "content": "What is 12 + 30?"}]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def reply_to(daemon: Any, method: str, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    async with daemon.http.request(method, daemon.url + path, data=b"{}", headers=headers) as reply:
        text = await reply.text()
        return reply.status, text if "json" not in reply.headers["Content-Type"] else await reply.json()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_wants_a_key(start: Callable[..., Any], route: Any) -> None:
    daemon = await start(api_key=USE)
    path = route.path.replace("{digest}", "sha256:0").replace("{name:.+}", "demo")
    if route.method == "HEAD":
        async with daemon.http.head(daemon.url + path) as reply:
            assert reply.status == 401
        return
    for headers in ({}, bearer("wrong-0123456789"), {"x-api-key": USE[:-1]}, {"Authorization": f"Basic {USE}"}):
        status, answer = await reply_to(daemon, route.method.replace("*", "GET"), path, headers)
        if path == "/health":
            assert (status, answer) == (200, {"status": "ok"})
        else:
            assert status == 401 and "API key" in str(answer)


async def test_refusals_are_in_the_dialects_shape(start: Callable[..., Any]) -> None:
    daemon = await start(api_key=USE)
    status, answer = await daemon.post("/api/chat", {})
    assert (status, list(answer)) == (401, ["error"])
    status, answer = await daemon.post("/v1/chat/completions", {})
    assert (status, answer["error"]["type"]) == (401, "authentication_error")
    status, answer = await daemon.post("/v1/messages", {})
    assert (status, answer["type"], answer["error"]["type"]) == (401, "error", "authentication_error")
    assert (await reply_to(daemon, "GET", "/nothing", {}))[0] == 401
    with pytest.raises(openai.AuthenticationError):
        await daemon.openai.models.list()
    with pytest.raises(anthropic.AuthenticationError):
        await daemon.anthropic.messages.create(model="demo", max_tokens=5, messages=ASK)


async def test_the_clients_get_in_with_the_key(start: Callable[..., Any]) -> None:
    daemon = await start(api_key=USE)
    done = await daemon.openai.with_options(api_key=USE).chat.completions.create(model="demo", messages=ASK)
    assert done.choices[0].message.content == "Hello world"
    ask: Any = {"model": "demo", "max_tokens": 5, "messages": ASK}
    assert (await daemon.anthropic.with_options(api_key=USE).messages.create(**ask)).stop_reason == "end_turn"
    assert (await reply_to(daemon, "GET", "/api/tags", bearer(USE)))[0] == 200
    assert (await reply_to(daemon, "POST", "/api/copy", bearer(USE)))[0] == 400  # let in, and asked for nothing
    key = (daemon.settings.home / "local.key").read_text()
    assert (await reply_to(daemon, "GET", "/api/tags", {"X-Ktd-Local-Key": key}))[0] == 200


async def test_only_the_admin_key_changes_models(start: Callable[..., Any]) -> None:
    daemon = await start(api_key=USE, admin_key=ADMIN)
    for method, path in (("DELETE", "/api/delete"), ("POST", "/api/pull"), ("POST", "/api/blobs/sha256:0")):
        status, answer = await reply_to(daemon, method, path, bearer(USE))
        assert (status, "not for changing" in answer["error"]) == (403, True)
        assert (await reply_to(daemon, method, path, bearer(ADMIN)))[0] not in (401, 403)
        assert (await reply_to(daemon, method, path, {}))[0] == 401
    for key in (USE, ADMIN):
        assert (await reply_to(daemon, "GET", "/api/tags", bearer(key)))[0] == 200


async def test_an_admin_key_alone_leaves_the_models_to_everyone(start: Callable[..., Any]) -> None:
    daemon = await start(admin_key=ADMIN)
    assert (await daemon.ollama.chat("demo", ASK)).message.content == "Hello world"
    assert (await reply_to(daemon, "POST", "/api/copy", {}))[0] == 401


async def test_a_preflight_needs_no_key(start: Callable[..., Any]) -> None:
    daemon = await start(api_key=USE)
    async with daemon.http.options(daemon.url + "/api/chat", headers={"Origin": "http://localhost:3000"}) as reply:
        assert reply.status == 204 and "x-api-key" in reply.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize("key", ["short", "has a blank in it", "ключ-ключ-ключ"])
def test_keys_that_cannot_be_sent_are_refused_unseen(key: str) -> None:
    with pytest.raises(SettingsError, match="KTD_API_KEY") as caught:
        choose({"KTD_API_KEY": key})
    assert key not in str(caught.value)


def test_settings_do_not_show_keys() -> None:
    settings = choose({"KTD_API_KEY": USE, "KTD_ADMIN_KEY": ADMIN}).settings
    assert (settings.api_key, settings.admin_key) == (USE, ADMIN)
    assert USE not in repr(settings) and ADMIN not in repr(settings)


async def test_keys_and_prompts_are_not_logged(start: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    daemon = await start(api_key=USE)
    await reply_to(daemon, "POST", "/api/chat", bearer(USE))
    assert USE not in caplog.text


async def test_status_and_me(daemon: Any) -> None:
    assert await daemon.get("/api/status") == {"cloud": {"disabled": True, "source": "none"}}
    status, answer = await daemon.post("/api/me", {})
    assert (status, "no accounts" in answer["error"]) == (401, True)


async def test_metrics(daemon: Any) -> None:
    await daemon.ollama.chat("demo", ASK)
    await daemon.openai.chat.completions.create(model="demo", messages=ASK)
    await reply_to(daemon, "GET", "/made/up", {})
    async with daemon.http.get(daemon.url + "/metrics") as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=")
        text = await reply.text()
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["ktd_prompt_tokens_total",] == 20
    assert found["ktd_cached_prompt_tokens_total",] == 8
    assert found["ktd_output_tokens_total",] == 4
    assert found["ktd_answers_total", "stop"] == 2
    assert found["ktd_first_token_seconds_count",] == found["ktd_output_tokens_per_second_count",] == 2
    assert found["ktd_requests_total", "/api/chat", "200"] == 1
    assert found["ktd_requests_total", "404", "other"] == 1
    assert found["ktd_model_memory_bytes", "cpu", "demo:latest"] == 1000
    assert found["ktd_queue_requests",] == found["ktd_model_requests", "demo:latest"] == 0
