import math
from pathlib import Path

import pytest

from ktd.daemon import duration
from ktd.daemon.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300), ("24h", 86400), ("1h30m", 5400), ("300ms", 0.3), ("0", 0), ("10", 10), ("1.5", 1.5),
        ("-1", math.inf), ("-1m", math.inf), ("-1s", math.inf), ("2µs", 2e-6), (" 5m ", 300), ("1.5h", 5400),
    ],
)  # fmt: skip
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert duration.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "m", "5 m", "5x", "nan", "1e3", "5m-3s", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration.seconds(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ("127.0.0.1", 11434)),
        ("0.0.0.0", ("0.0.0.0", 11434)),
        ("box:80", ("box", 80)),
        (":8080", ("127.0.0.1", 8080)),
        ("http://1.2.3.4", ("1.2.3.4", 80)),
        ("http://1.2.3.4:5/", ("1.2.3.4", 5)),
        ("::1", ("::1", 11434)),
        ("[::1]:77", ("::1", 77)),
        (' "localhost:9" ', ("localhost", 9)),
    ],
)
@pytest.mark.parametrize("prefix", ["KTD", "OLLAMA"])
def test_addresses(prefix: str, text: str, address: tuple[str, int]) -> None:
    settings = Settings.from_environment({f"{prefix}_HOST": text})
    assert (settings.host, settings.port) == address


def test_every_variable_has_its_place() -> None:
    environ = {
        "KTD_HOME": "/data/ktd",
        "OLLAMA_KEEP_ALIVE": "-1",
        "KTD_CONTEXT_LENGTH": "8192",
        "OLLAMA_ORIGINS": "https://a.example, chrome-extension://*",
        "KTD_ALLOWED_HOSTS": "box.example",
        "KTD_MAX_QUEUE": "7",
        "OLLAMA_MAX_LOADED_MODELS": "2",
        "KTD_DATABASE_URL": "postgresql://db/ktd",
        "KTD_THREADS": "4",
    }
    assert Settings.from_environment(environ) == Settings(
        home=Path("/data/ktd"),
        keep_alive=math.inf,
        context=8192,
        origins=("https://a.example", "chrome-extension://*"),
        hosts=("box.example",),
        max_queue=7,
        max_loaded=2,
        database_url="postgresql://db/ktd",
        threads=4,
    )


def test_ktds_own_variable_wins() -> None:
    environ = {"KTD_KEEP_ALIVE": "1m", "OLLAMA_KEEP_ALIVE": "2m", "OLLAMA_HOME": "/no", "OLLAMA_THREADS": "3"}
    settings = Settings.from_environment(environ)
    assert settings.keep_alive == 60
    assert (settings.home, settings.threads) == (Path.home() / ".ktd", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KTD_HOST", "https://box"),
        ("OLLAMA_HOST", "box:port"),
        ("KTD_HOST", "box:99999"),
        ("KTD_HOST", "a b"),
        ("KTD_KEEP_ALIVE", "soon"),
        ("OLLAMA_CONTEXT_LENGTH", "4k"),
        ("KTD_MAX_QUEUE", "-1"),
        ("KTD_THREADS", "1.5"),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}={value}: "):
        Settings.from_environment({name: value})
