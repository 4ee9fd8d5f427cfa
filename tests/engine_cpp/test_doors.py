"""What the runtime refuses at its doors, by name, before it touches memory."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tiny_deepseek

from ktd.engine import _core
from ktd.engine.gguf import Gguf
from ktd.engine.models import spec_for

F32 = 0
Q8_0 = 8


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doors")
    return tiny_deepseek.export(tiny_deepseek.make("v3"), folder / "model.gguf")


@pytest.fixture(scope="module")
def model(path: Path) -> _core.Model:
    with Gguf.open(path) as gguf:
        places = [(t.name, t.shard, t.offset, int(t.type), t.shape) for t in gguf.tensors.values()]
        stages = spec_for(gguf).stages
    return _core.Model(_core.Machine(), _core.Weights([str(path)], places), stages, 16)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("t", 0, 0, F32, (1 << 40,)), "t.*bytes"),
        (("t", 0, 1 << 62, F32, (4,)), "t.*bytes"),
        (("t", 0, 0, F32, (1 << 40, 1 << 40)), "t.*out of range"),
        (("t", 0, 0, F32, (4, 0)), "t.*out of range"),
        (("t", 0, 0, F32, (4, -1)), "t.*out of range"),
        (("t", 0, 0, Q8_0, (48, 2)), "t.*blocks of 32"),
        (("t", 1, 0, F32, (4,)), "t.*no file 1"),
        (("t", 0, 0, 4, (32,)), "t.*type 4"),
        (("t", 0, 0, 1 << 20, (32,)), "t.*type 1048576"),
    ],
)
def test_a_tensor_outside_its_file_is_refused(path: Path, place: Any, words: str) -> None:
    with pytest.raises(_core.EngineError, match=words):
        _core.Weights([str(path)], [place])


@pytest.mark.parametrize("residence", ["mapped", "read"])
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, residence: Literal["mapped", "read"]) -> None:
    (tmp_path / "empty").touch()
    for name in ("absent", "empty", "."):
        with pytest.raises(_core.EngineError, match=f"cannot read .*{name}"):
            _core.Weights([str(tmp_path / name)], [], residence)


def test_a_file_that_became_shorter_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(1 << 20))
    weights = _core.Weights([str(path)], [("t", 0, 0, F32, (1 << 18,))], "read")
    path.write_bytes(bytes(1 << 12))
    with pytest.raises(_core.EngineError, match=f"cannot read {path}"):
        weights.populate(_core.Machine(), 0, weights.bytes)


@pytest.mark.parametrize("threads", [-1, 100_000])
def test_a_thread_count_that_the_machine_lacks_is_refused(threads: int) -> None:
    with pytest.raises(_core.EngineError, match=str(threads)):
        _core.Machine(threads)


def test_an_unknown_isa_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(_core.EngineError, match="mmx"):
        _core.Machine(1, "mmx")
    monkeypatch.setenv("KTD_ISA", "sse9")
    with pytest.raises(_core.EngineError, match="sse9"):
        _core.Machine(1)


def test_every_usable_isa_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    for isa in _core.isas():
        monkeypatch.setenv("KTD_ISA", isa)
        assert _core.Machine(1).isa == isa


def step(model: _core.Model, cache: _core.KvCache, **changes: Any) -> Any:
    arrays: dict[str, Any] = {
        "tokens": [1, 2],
        "positions": [0, 1],
        "sequences": [0, 0],
        "pages": [[0]],
        "rows": [1],
        "kept": [],
    }
    return model.forward(cache, **{k: np.array(v, np.int32) for k, v in (arrays | changes).items()})[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tokens": [1, 96]}, "token 96"),
        ({"tokens": [-1, 2]}, "token -1"),
        ({"positions": [0, -5]}, "position -5"),
        ({"positions": [0, 8]}, "position 8"),
        ({"positions": [0]}, "differ"),
        ({"sequences": [0, 1]}, "sequence 1"),
        ({"pages": [[4]]}, "page 4"),
        ({"pages": [[-1]]}, "page -1"),
        ({"rows": [2]}, "row 2"),
        ({"kept": [2]}, "kept row 2"),
        ({"rows": [0] * 17}, "rows"),
        ({"tokens": [], "positions": [], "sequences": []}, "not 0"),
        ({"tokens": [1] * 17, "positions": [0] * 17, "sequences": [0] * 17}, "not 17"),
    ],
)
def test_a_step_that_does_not_fit_is_refused(model: _core.Model, changes: dict[str, Any], words: str) -> None:
    cache = _core.KvCache(model, 4, 8, "f32")
    with pytest.raises(_core.EngineError, match=words):
        step(model, cache, **changes)
    assert step(model, cache).shape == (1, 96)


def test_a_step_without_rows_computes_no_logits(model: _core.Model) -> None:
    assert step(model, _core.KvCache(model, 4, 8), rows=[]).shape == (0, 96)


@pytest.mark.parametrize(
    ("pages", "page_tokens", "kind"), [(0, 8, "f16"), (4, 0, "f16"), (4, 1000, "f16"), (4, 8, "q2")]
)
def test_a_cache_of_impossible_shape_is_refused(model: _core.Model, pages: int, page_tokens: int, kind: str) -> None:
    with pytest.raises(_core.EngineError, match="cache"):
        _core.KvCache(model, pages, page_tokens, kind)


def test_read_bandwidth_is_a_rate() -> None:
    assert _core.Machine().read_bandwidth(1 << 26) > 1e8
