"""Build a wheel into dist/, install it in a new venv, and run the whole suite against that: `make wheel`."""

import shutil
import subprocess
import sys
from pathlib import Path

from bootstrap import ROOT, from_source, install_torch, phase, pip, read_project, stop

DIST = ROOT / "dist"
ROOM = ROOT / "build" / "wheel-venv"
PYTHON = ROOM / "bin" / "python"


def main() -> None:
    wheel = build()
    install(wheel)
    installed = subprocess.run(
        [PYTHON, "-P", "-c", "import ktd; print(ktd.__file__)"],
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()
    if not Path(installed).is_relative_to(ROOM):
        stop(f"the tests would import {installed}, not the wheel")
    suite = [str(PYTHON), "-P", "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), str(ROOT / "tests")]
    sys.exit(subprocess.run(suite, cwd=ROOM).returncode)


def build() -> Path:
    shutil.rmtree(DIST, ignore_errors=True)
    phase("building the wheel", [*pip("wheel"), *from_source(), "--wheel-dir", str(DIST), str(ROOT)])
    (wheel,) = DIST.glob("ktd-*.whl")
    print(f"ktd: {wheel.relative_to(ROOT)}, {wheel.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    return wheel


def install(wheel: Path) -> None:
    """A new venv with the wheel and what its tests need; torch first: PyPI's has CUDA in it."""
    shutil.rmtree(ROOM, ignore_errors=True)
    phase("creating a new venv", [sys.executable, "-m", "venv", str(ROOM)])
    install_torch(PYTHON, read_project()["project"]["optional-dependencies"]["dev"])
    phase("installing the wheel with what its tests need", [*pip("install", PYTHON), f"{wheel}[dev]"])


if __name__ == "__main__":
    main()
