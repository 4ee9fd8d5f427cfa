"""What the engine tells `ktd doctor`."""

import json
import subprocess
import sys
from pathlib import Path

import demo

from ktd.engine.probe import Fit, fit

PLENTY = 1 << 40
SPEED = 1e9  # bytes a second


def test_a_model_that_fits_says_what_it_takes() -> None:
    found = fit([str(demo.Q8_0)], PLENTY, SPEED)
    assert found.needs > demo.Q8_0.stat().st_size / 2
    assert (found.context, found.on_disk, found.problem) == (2048, False, "")
    assert found.most > SPEED / demo.Q8_0.stat().st_size  # of experts, only some are read


def test_a_model_that_does_not_says_why(tmp_path: Path) -> None:
    assert "model requires more system memory" in fit([str(demo.Q8_0)], 1 << 20, SPEED).problem
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(demo.Q8_0.read_bytes()[:1000])
    assert fit([str(broken)], PLENTY, SPEED) == Fit(problem=fit([str(broken)], PLENTY, SPEED).problem)
    assert str(broken) in fit([str(broken)], PLENTY, SPEED).problem


def test_the_machine_in_json() -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "ktd.engine.probe"],
        input=json.dumps({"models": {"demo": [str(demo.Q8_0)]}}),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    machine = report["machine"]
    assert machine["threads"] >= 1 and machine["bandwidth"] > 0
    assert 0 < machine["available"] <= machine["memory"]
    assert report["models"]["demo"]["problem"] == ""
