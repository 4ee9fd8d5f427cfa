from pathlib import Path

import pytest

from ktd.cli import settings


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("box:8000", "http://box:8000"),
        (":8000", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:9", "http://127.0.0.1:9"),
        ("http://box", "http://box:80"),
        ("https://box", "https://box:443"),
        ("https://box:8443/llm/", "https://box:8443/llm"),
        ("box/llm", "http://box:11434/llm"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("::", "http://[::1]:11434"),
    ],
)
def test_the_daemons_address_takes_every_form_of_ollamas(text: str, url: str) -> None:
    assert settings.parse_host(text) == url


@pytest.mark.parametrize("text", ["ftp://box", "box:port", "box:99999"])
def test_an_address_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        settings.parse_host(text)


def test_ktds_own_variable_wins_and_blank_ones_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", ' "box:1" ')
    monkeypatch.setenv("KTD_HOST", "  ")
    assert settings.base_url() == "http://box:1"
    monkeypatch.setenv("KTD_HOST", "box:2")
    assert settings.base_url() == "http://box:2"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.8.9.1:1", True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("https://127.0.0.1:1", False),
        ("http://box:1", False),
    ],
)
def test_only_a_loopback_daemon_can_be_started(url: str, local: bool) -> None:
    assert settings.is_local(url) is local


def test_the_home_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KTD_HOME", "some/where")
    assert settings.home() == Path.cwd() / "some/where"
    monkeypatch.delenv("KTD_HOME")
    assert settings.home() == Path.home() / ".ktd"
