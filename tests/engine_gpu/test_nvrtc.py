"""Every kernel compiles for the cards it is meant for, without a card; and machine code is kept on disk."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from host_kernels import every_kernel

from ktd.engine.gpu import nvrtc
from ktd.engine.gpu.launcher import architecture
from ktd.engine.gpu.nvrtc import CompileError, Compiler, qualified

FAMILIES = every_kernel()
ARCHITECTURES = ("sm_80", "sm_90a")
SHARED = 48 << 10  # bytes that a block may have without asking
REPORT = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?registers([^\n]*)",
    re.DOTALL,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kernel_compiles_and_spills_nothing(family: str) -> None:
    with ThreadPoolExecutor(len(ARCHITECTURES)) as pool:
        images = list(pool.map(lambda arch: Compiler(arch).image(family, FAMILIES[family]), ARCHITECTURES))
    for image in images:
        reports = REPORT.findall(image.log)
        assert {entry for entry, *_ in reports} == set(image.symbols.values())
        assert len(reports) == len(FAMILIES[family])
        assert [entry for entry, stores, loads, _ in reports if int(stores) or int(loads)] == []
        assert all(int(bytes) <= SHARED for bytes in re.findall(r"(\d+) bytes smem", image.log))
        assert all(symbol.encode() in image.cubin for symbol in image.symbols.values())


def test_machine_code_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler("sm_90a", tmp_path / "kernels")
    made = compiler.image("floats", ["float_matvec<F16, 1>"])
    assert [path.suffix for path in (tmp_path / "kernels").iterdir()] == [".kernels"]
    with monkeypatch.context() as patched:
        patched.setattr(nvrtc, "Program", None)
        assert compiler.image("floats", ["float_matvec<F16, 1>"]) == made


@pytest.mark.parametrize("damage", [b"", b"\x93\x01", b"\xc0"])
def test_a_damaged_file_is_compiled_again(tmp_path: Path, damage: bytes) -> None:
    compiler = Compiler("sm_80", tmp_path)
    made = compiler.image("elementwise", ["quantise<>"])
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    again = compiler.image("elementwise", ["quantise<>"])
    assert again.symbols == made.symbols
    assert nvrtc.read(path) == again


def test_what_changes_the_code_changes_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {
        Compiler("sm_80").key("floats", ["float_matvec<F16, 1>"]),
        Compiler("sm_90a").key("floats", ["float_matvec<F16, 1>"]),
        Compiler("sm_80").key("floats", ["float_matvec<F16, 2>"]),
        Compiler("sm_80").key("matvec", ["matvec<Q8_0, 1>"]),
    }
    monkeypatch.setattr(nvrtc, "version", lambda: (99, 0))
    keys.add(Compiler("sm_80").key("floats", ["float_matvec<F16, 1>"]))
    monkeypatch.setattr(nvrtc, "source", lambda family: "")
    keys.add(Compiler("sm_80").key("floats", ["float_matvec<F16, 1>"]))
    assert len(keys) == 6


def test_a_mistake_is_told_with_its_file_and_line(monkeypatch: pytest.MonkeyPatch) -> None:
    right = nvrtc.source("matvec")
    monkeypatch.setattr(
        nvrtc, "source", lambda family: right.replace("const View<Type> view", "const Vieew<Type> view")
    )
    with pytest.raises(CompileError, match=r"does not compile for sm_80:\n[^$]*matvec.cuh\(\d+\): error: Vieew"):
        Compiler("sm_80").image("matvec", ["matvec<Q8_0, 1>"])


def test_an_architecture_that_nvrtc_does_not_know_is_told() -> None:
    with pytest.raises(CompileError, match="sm_123"):
        Compiler("sm_123").image("elementwise", ["quantise<>"])


def test_names() -> None:
    assert qualified("norm<>") == "ktd::norm<>"
    assert qualified("gate_up<Q4_K, IQ1_S>") == "ktd::gate_up<ktd::Q4_K, ktd::IQ1_S>"
    assert architecture(8, 9) == "sm_89"
    assert architecture(9, 0) == "sm_90a"
