"""Choices: what was set, and where. A flag wins over KTD_<NAME>, that over OLLAMA_<NAME>, that over a TOML file.

The file is the one that --config or KTD_CONFIG names, or `config.toml` in the home; its keys are the names of the
flags of `ktd serve`, with - or _.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktd.daemon import duration, values
from ktd.daemon.settings import ROWS, Row, Settings, SettingsError

CONFIG = "config.toml"
CONFIG_VARIABLE = "KTD_CONFIG"
DEFAULT_HOME = "~/.ktd"
HIDDEN = "..."
NONE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Choice:
    """One setting as it was written, and where."""

    row: Row
    text: str
    origin: str

    @property
    def shown(self) -> str:
        return HIDDEN if self.row.secret else self.text

    def read(self) -> object:
        try:
            return self.row.read(self.text)
        except ValueError as error:
            raise SettingsError(f"{self.origin}={self.shown}: {error}") from error


@dataclass(frozen=True, slots=True)
class Chosen:
    settings: Settings
    choices: tuple[Choice, ...]  # all that is not the default


def choose(environ: Mapping[str, str], flags: Mapping[str, str] = NONE) -> Chosen:
    """`flags` by the variable that each stands for, without its prefix. Raises SettingsError."""
    given = [choice for row in ROWS if (choice := _given(row, environ, flags)) is not None]
    rest = [row for row in ROWS if row not in [choice.row for choice in given]]
    choices = [*given, *_from_file(_file(environ, given), rest)]
    return Chosen(_settings(choices), tuple(choices))


def key(row: Row) -> str:
    """The name of a setting in the file and, behind two dashes, as a flag."""
    return row.variable.lower().replace("_", "-")


def _given(row: Row, environ: Mapping[str, str], flags: Mapping[str, str]) -> Choice | None:
    if (text := flags.get(row.variable)) is not None:
        return Choice(row, text, f"--{key(row)}")
    for name in (f"KTD_{row.variable}", *([f"OLLAMA_{row.variable}"] if row.ollama else [])):
        if text := environ.get(name, "").strip(" \t\r\n\"'"):  # an empty one counts as unset
            return Choice(row, text, name)
    return None


def _file(environ: Mapping[str, str], given: Iterable[Choice]) -> Path | None:
    """The TOML file to read; one that is named must be there."""
    if named := environ.get(CONFIG_VARIABLE, "").strip():
        return values.path(named)
    home = next((choice.text for choice in given if choice.row.field == "home"), DEFAULT_HOME)
    path = values.path(home) / CONFIG
    return path if path.exists() else None


def _from_file(path: Path | None, rows: Iterable[Row]) -> list[Choice]:
    """Choices of these rows; whatever else is in the file must at least be a setting."""
    if path is None:
        return []
    table = _table(path)
    if unknown := table.keys() - {key(row) for row in ROWS}:
        raise SettingsError(f"{path}: unknown setting {sorted(unknown)[0]!r}")
    wanted = [(row, f"{path}: {key(row)}") for row in rows if key(row) in table]
    return [Choice(row, _text(table[key(row)], origin), origin) for row, origin in wanted]


def _table(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
        return {name.replace("_", "-"): value for name, value in tomllib.loads(text).items()}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _text(value: object, origin: str) -> str:
    """The value as it would stand in a variable."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if isinstance(value, str | int | float):  # a flag too
        return str(value)
    raise SettingsError(f"{origin} must be text, a number, or true or false")


def _settings(choices: Iterable[Choice]) -> Settings:
    read = {choice.row.field: value for choice in choices if (value := choice.read()) is not None}
    origins = {choice.row.field: f"{choice.origin}={choice.shown}" for choice in choices}
    address = read.pop("address", None)
    if isinstance(address, values.Address):
        read = {"host": address.host, "port": address.port} | read
        if address.tls and "tls_cert" not in read:
            raise SettingsError(f"{origins['address']}: https needs a certificate, TLS_CERT")
    for one, other in (("tls_key", "tls_cert"), ("model_path", "gguf_path")):
        if one in read and other not in read:
            raise SettingsError(f"{origins[one]}: this needs {other.upper()} too")
    if "gguf_path" in read:  # a model that was asked for at the start is to stay
        read.setdefault("keep_alive", duration.FOREVER)
    arguments: dict[str, Any] = {"home": values.path(DEFAULT_HOME)} | read
    return Settings(**arguments)
