"""Kernels touch nothing but their buffers, each word at a multiple of its size: by the compiler's sanitizers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from host_kernels import SHIM, compiler

SUPPORT = Path(__file__).resolve().parents[1] / "support"


def run(family: str) -> subprocess.CompletedProcess[str]:
    names = ("libasan.so", "libubsan.so")
    found = [
        subprocess.run([compiler(), f"-print-file-name={n}"], capture_output=True, text=True, check=True) for n in names
    ]
    settings = {
        "LD_PRELOAD": " ".join(each.stdout.strip() for each in found),
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",  # of Python; of fibres
        "PYTHONPATH": str(SUPPORT),
    }
    command = [sys.executable, "-P", str(SHIM / "sanitized.py"), family]
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)


@pytest.mark.parametrize("family", ["products", "attention"])
def test_kernels_stay_within_their_buffers(family: str) -> None:
    ran = run(family)
    assert ran.returncode == 0, ran.stderr[-4000:]


def test_a_matrix_that_is_a_row_short_is_noticed() -> None:
    ran = run("wrong")
    assert ran.returncode != 0
    assert "heap-buffer-overflow" in ran.stderr
