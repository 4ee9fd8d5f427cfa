import math
from pathlib import Path

import pytest

from ktd.daemon import duration, values
from ktd.daemon.choices import choose, key
from ktd.daemon.settings import ROWS, Settings, SettingsError


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a configuration."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def settings(environ: dict[str, str]) -> Settings:
    return choose(environ).settings


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
    chosen = settings({f"{prefix}_HOST": text})
    assert (chosen.host, chosen.port) == address


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
        "KTD_DROP_TOOLS": "1",
        "OLLAMA_KV_CACHE_TYPE": "q8_0",
    }
    assert settings(environ) == Settings(
        home=Path("/data/ktd"),
        keep_alive=math.inf,
        context=8192,
        drop_tools=True,
        origins=("https://a.example", "chrome-extension://*"),
        hosts=("box.example",),
        max_queue=7,
        max_loaded=2,
        database_url="postgresql://db/ktd",
        threads=4,
        cache_type="q8_0",
    )


def test_ktds_own_variable_wins() -> None:
    environ = {"KTD_KEEP_ALIVE": "1m", "OLLAMA_KEEP_ALIVE": "2m", "OLLAMA_HOME": "/no", "OLLAMA_THREADS": "3"}
    chosen = settings(environ)
    assert chosen.keep_alive == 60
    assert (chosen.home, chosen.threads) == (Path.home() / ".ktd", None)


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
        ("KTD_PORT", "65536"),
        ("OLLAMA_KV_CACHE_TYPE", "q4_0"),
        ("KTD_PULL_RATE", "1T"),
        ("KTD_TLS_KEY", "/k.pem"),
        ("KTD_MODEL_PATH", "/m"),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}={value}: "):
        choose({name: value})


def test_a_flag_wins_over_everything(user: Path) -> None:
    (user / "ktd.toml").write_text('keep-alive = "4m"')
    environ = {"KTD_CONFIG": str(user / "ktd.toml")}
    for expected, more, flags in (
        (240, {}, {}),
        (180, {"OLLAMA_KEEP_ALIVE": "3m"}, {}),
        (120, {"KTD_KEEP_ALIVE": "2m"}, {}),
        (60, {}, {"KEEP_ALIVE": "1m"}),
    ):
        environ |= more
        assert choose(environ, flags).settings.keep_alive == expected


def test_every_choice_says_where_it_was_made(user: Path) -> None:
    file = user / ".ktd" / "config.toml"
    file.parent.mkdir()
    file.write_text(
        'origins = ["https://a.example", "https://b.example"]\nthreads = 3\napi_key = "secret-key"\nport = 1'
    )
    chosen = choose({"OLLAMA_HOST": ":5", "KTD_PORT": "7"}, {"MAX_QUEUE": "9"})
    assert {(key(choice.row), choice.shown, choice.origin) for choice in chosen.choices} == {
        ("host", ":5", "OLLAMA_HOST"),
        ("port", "7", "KTD_PORT"),
        ("max-queue", "9", "--max-queue"),
        ("origins", "https://a.example,https://b.example", f"{file}: origins"),
        ("threads", "3", f"{file}: threads"),
        ("api-key", "...", f"{file}: api-key"),
    }
    assert (chosen.settings.port, chosen.settings.api_key) == (7, "secret-key")
    assert "secret-key" not in repr(chosen.settings)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('colour = "red"', "unknown setting 'colour'"),
        ("threads = [1]", "threads must be text, a number, or true or false"),
        ("threads = true", "not a whole number"),
        ("threads = 1.5", "threads=1.5: not a whole number"),
        ("threads =", "cannot be read: Invalid value"),
        ("\xff", "cannot be read: "),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_bad_file_is_refused_by_name(user: Path, text: str | None, problem: str) -> None:
    file = user / "bad.toml"
    if text is not None:
        file.write_text(text, encoding="latin-1")
    with pytest.raises(SettingsError, match=problem) as error:
        choose({"KTD_CONFIG": str(file)})
    assert str(error.value).startswith(str(file))


def test_https_needs_a_certificate() -> None:
    with pytest.raises(SettingsError, match="KTD_HOST=https://box: https needs a certificate, TLS_CERT"):
        choose({"KTD_HOST": "https://box"})
    assert settings({"KTD_HOST": "https://box", "KTD_TLS_CERT": "/c.pem"}).port == 443


def test_no_time_is_any_time() -> None:
    assert settings({"OLLAMA_LOAD_TIMEOUT": "0"}).load_timeout == math.inf
    assert settings({"OLLAMA_LOAD_TIMEOUT": "-1"}).load_timeout == math.inf


def test_the_log_may_be_standard_error() -> None:
    assert settings({"KTD_ACCESS_LOG": "-"}).access_log == values.STDERR


def test_every_field_has_a_row() -> None:
    rows = {row.field for row in ROWS} - {"address"} | {"host"}
    assert rows == set(Settings.__dataclass_fields__)
