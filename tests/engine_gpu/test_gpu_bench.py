"""The benchmark of kernels: without a GPU it says so; all its launches are right, on the host's kernels and small
shapes, where only their times mean nothing."""

import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
from host_kernels import HostLauncher

from ktd.engine.gpu.cuda_attention import AttentionKernels
from ktd.engine.gpu.cuda_kernels import Kernels

SCRIPT = Path(__file__).resolve().parents[1] / "bench" / "gpu_kernels.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = spec_from_file_location("gpu_kernels", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_kernels", module)  # where its dataclass looks for its names
    spec.loader.exec_module(module)
    small = {"EXPERTS": 8, "USED": 2, "DIM": 256, "WIDTH": 256, "HEADS": 5, "LATENT": 64, "ROPE": 16}
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "MATRICES", {"q_a": (9, 512)})
    return module


def test_every_line_is_launched(script: ModuleType, host: HostLauncher, capsys: pytest.CaptureFixture[str]) -> None:
    class Untimed(script.Bench):  # type: ignore[name-defined, misc]
        def seconds(self, run: Callable[[int], None], turns: int) -> float:
            for turn in range(turns):
                run(turn)
            return 1.0

    bench = Untimed(torch.device("cpu"), Kernels(host), AttentionKernels(host), 10_000)
    words = ["--types", "IQ1_S", "Q6_K", "--tokens", "1", "3", "--context", "40", "--prompt", "5"]
    script.report(bench, script.arguments(words), roof=1.0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == 2 * (2 * ["matvec", "gate_up", "down"] + ["grouped_gemm"]) + 2 * [
        "attend"
    ]
    assert all(" us " in line for line in lines)


def test_without_a_device_nothing_is_measured() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device: the refusal cannot be seen")
    ran = subprocess.run([sys.executable, "-P", SCRIPT], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "nothing was measured" in ran.stderr
    assert ran.stdout == ""
