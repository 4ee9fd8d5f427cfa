"""Prepare .venv for `make`: `python3 packaging/bootstrap.py base|dev`.

`base` is what running ktd needs, `dev` adds what its tests need. A phase is skipped when nothing it depends on
has changed. Only the standard library is used: there is nothing else yet.
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
            f"ktd needs Python 3.11 or newer, not {sys.executable}.",
            "Name another: make PYTHON=python3.12 ...",
        )
    if len(sys.argv) != 2 or sys.argv[1] not in ("base", "dev"):
        stop("usage: bootstrap.py base|dev")
    main(sys.argv[1])
