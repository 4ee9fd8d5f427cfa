"""Prepare .venv for `make`: `python3 packaging/bootstrap.py base|dev`.

`base` is what running ktd needs, `dev` adds what its tests need. A phase is skipped while its inputs are the
same as when it last succeeded. Only the standard library is used: there is nothing else yet.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = ROOT / "build" / "bootstrap.log"
OLDEST = (3, 11)
BUILD_TOOLS = ["cmake>=3.24", "ninja>=1.11"]
# PyPI's Linux torch brings gigabytes of CUDA; the tests only need its CPU half.
TORCH_CPU = "https://download.pytorch.org/whl/cpu"
OLLAMA_JS = "ollama@0.6.3"


def main(level: str) -> None:
    check_machine()
    LOG.parent.mkdir(exist_ok=True)
    make_venv()
    project = read_project()
    install_packages(project, level)
    build_engine(project)


def check_machine() -> None:
    """Say everything that is missing at once, before anything is made."""
    missing = []
    if importlib.util.find_spec("ensurepip") is None:
        missing.append("python3-venv")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        missing.append("python3-dev")
    if not (os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")):
        missing.append("g++")
    if missing:
        names = " ".join(missing)
        stop(
            f"{sys.executable} cannot build ktd: {names} missing.",
            f"Debian, Ubuntu: sudo apt install {names}",
        )


def make_venv() -> None:
    """Of this very Python version; one of another is replaced."""
    version = f"version = {'.'.join(map(str, sys.version_info[:3]))}"
    settings = VENV / "pyvenv.cfg"
    if PYTHON.exists() and version in settings.read_text():
        return
    phase("creating .venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])


def read_project() -> dict[str, Any]:
    import tomllib  # 3.11 and later; an older Python was refused above

    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def install_packages(project: dict[str, Any], level: str) -> None:
    needed = project["build-system"]["requires"] + BUILD_TOOLS + project["project"]["dependencies"]
    stamp = Stamp("base", needed)
    if not stamp.fresh():
        phase(f"installing {len(needed)} packages", [*pip("install"), *needed])
        stamp.write()
    if level == "dev":
        install_dev(project["project"]["optional-dependencies"]["dev"])
        install_js()


def install_dev(needed: list[str]) -> None:
    stamp = Stamp("dev", needed)
    if stamp.fresh():
        return
    install_torch(PYTHON, needed)
    phase(f"installing {len(needed)} packages for development", [*pip("install"), *needed])
    stamp.write()


def install_js() -> None:
    """Ollama's JavaScript client, for the test that drives it; without it that test is skipped, and says why."""
    npm, stamp = shutil.which("npm"), Stamp("js", [OLLAMA_JS])
    if npm is None or stamp.fresh():
        return
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--prefix", str(ROOT / "build" / "js")]
    if phase(f"installing {OLLAMA_JS} for the tests", [npm, "install", *quiet, OLLAMA_JS], needed=False):
        stamp.write()


def install_torch(python: Path, needed: list[str]) -> None:
    """Take torch from its CPU index when that can be reached; the tests need no more."""
    torch = [name for name in needed if name.startswith("torch=")]
    once = ["--no-deps", "--retries", "0", "--timeout", "10", "--extra-index-url", TORCH_CPU]
    phase("installing torch for the tests", [*pip("install", python), *once, *torch])


def build_engine(project: dict[str, Any]) -> None:
    """Install ktd in editable form, which compiles the engine; later only compile what changed."""
    package = Stamp("ktd", [project["project"], project["build-system"], project["tool"]["scikit-build"]])
    engine = Stamp("engine", engine_files())
    if not package.fresh() or not (ROOT / build_dir() / "CMakeCache.txt").exists():
        command = [*pip("install"), *from_source(), "--editable", str(ROOT)]
        phase("building the engine (minutes, the first time)", command)
    elif not engine.fresh():
        rebuild_engine()
    package.write()
    engine.write()


def engine_files() -> list[tuple[str, int, int]]:
    files = sorted(path for path in (ROOT / "engine_cpp").rglob("*") if path.is_file())
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def rebuild_engine() -> None:
    """An editable install does not follow C++ edits: build what is stale, and install it by hand."""
    cmake = str(VENV / "bin" / "cmake")
    where = [str(PYTHON), "-P", "-c", "import sysconfig; print(sysconfig.get_path('platlib'))"]
    site = subprocess.run(where, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    phase("building what changed in the engine", [cmake, "--build", str(ROOT / build_dir())])
    phase("installing the engine", [cmake, "--install", str(ROOT / build_dir()), "--prefix", site])


def build_dir() -> str:
    """One build folder per Python version, relative to the root; wheels share it."""
    return f"build/engine-{sys.implementation.cache_tag}"


def from_source() -> list[str]:
    """How pip shall build this project: with the tools in .venv, incrementally."""
    return ["--no-deps", "--no-build-isolation", "--config-settings", f"build-dir={build_dir()}"]


class Stamp:
    """A file in .venv that holds the fingerprint of the inputs a phase last succeeded with."""

    def __init__(self, name: str, inputs: Sequence[object]) -> None:
        self._path = VENV / f"{name}.stamp"
        text = json.dumps([sys.version, str(ROOT), *inputs], sort_keys=True)
        self._fingerprint = hashlib.sha256(text.encode()).hexdigest()

    def fresh(self) -> bool:
        return self._path.is_file() and self._path.read_text() == self._fingerprint

    def write(self) -> None:
        self._path.write_text(self._fingerprint)


def pip(command: str, python: Path = PYTHON) -> list[str]:
    return [str(python), "-P", "-m", "pip", command, "--quiet", "--no-input", "--disable-pip-version-check"]


def phase(what: str, command: Sequence[str], needed: bool = True) -> bool:
    """Run one step with its output in the log; one line on the terminal says what and how long.

    Returns whether it succeeded; one that is `needed` has.
    """
    print(f"ktd: {what} ... ", end="", file=sys.stderr, flush=True)
    began = time.monotonic()
    with LOG.open("w") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT).returncode
    print(f"{time.monotonic() - began:.0f} s" + (" (failed)" if code else ""), file=sys.stderr)
    if code and needed:
        stop(*LOG.read_text().splitlines()[-40:], f"{what} failed; the whole output is in {LOG}")
    return not code


def stop(*lines: str) -> NoReturn:
    sys.exit("\n".join(["", *lines]))


if __name__ == "__main__":
    if sys.version_info < OLDEST:
        stop(f"ktd needs Python 3.11 or newer, not {sys.executable}. Name another: make PYTHON=python3.12")
    if len(sys.argv) != 2 or sys.argv[1] not in ("base", "dev"):
        stop("usage: bootstrap.py base|dev")
    main(sys.argv[1])
