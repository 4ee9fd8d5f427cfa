"""Files of every layout through the loader, and its figures against what the runtime really takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import demo
import gguf as writer
import numpy as np
import pytest
from answers import Desk, chat

from ktd.engine import _core, loader
from ktd.engine.batch import Batch
from ktd.engine.check import check
from ktd.engine.executor import CpuExecutor, derived_bytes
from ktd.engine.gguf import Gguf
from ktd.engine.jobs import Jobs
from ktd.engine.loader import OpenModel, open_model
from ktd.engine.messages import CacheType, Load, Residence
from ktd.engine.models import spec_for
from ktd.engine.placement import HEADROOM, PAGE_TOKENS, cache_row_bytes

QUESTION = chat("What is 12 + 30?", think=True)


def rewritten(folder: Path, style: str, shard_tensors: int = 0) -> list[Path]:
    """The demo model's F16 weights in another layout, or in several files."""
    export, config = demo.script("to_gguf"), json.loads((demo.BUNDLE / "config.json").read_text())
    out = writer.GGUFWriter(folder / f"{style}.gguf", "deepseek2", split_max_tensors=shard_tensors)
    export.meta(out, config, demo.BUNDLE, style, "demo", 1)
    for name, array, narrow in export.tensors(export.load(demo.F16, config), config, style):
        out.add_tensor(name, np.ascontiguousarray(array, dtype=np.float16 if narrow else np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return sorted(folder.glob("*.gguf"))


def answer(model: OpenModel) -> str:
    return Desk(Jobs(model)).ask(QUESTION).text


@pytest.mark.parametrize("residence", ["mapped", "read", "streamed"])
def test_answers_do_not_depend_on_where_the_weights_are(
    residence: Residence, load_model: Callable[[Load], OpenModel]
) -> None:
    """Nor do those derived from them, which prompts are read with: some token of a long one would come out else."""
    model, mapped = (load_model(Load((str(demo.F16),), weights=weights)) for weights in (residence, "mapped"))
    assert answer(model) == answer(mapped)
    tokens = np.arange(100, dtype=np.int32)
    pages = np.arange(4, dtype=np.int32)[None, :]
    batch = Batch(tokens, tokens, np.zeros_like(tokens), pages, tokens, np.array([], np.int32))
    np.testing.assert_array_equal(model.executor.forward(batch)[0], mapped.executor.forward(batch)[0])


@pytest.mark.parametrize(("style", "shard_tensors"), [("kvb", 0), ("both", 0), ("split", 30)])
def test_every_layout_answers_alike(
    tmp_path: Path, style: str, shard_tensors: int, load_model: Callable[[Load], OpenModel]
) -> None:
    files = rewritten(tmp_path, style, shard_tensors)
    assert len(files) == (3 if shard_tensors else 1)
    expected = answer(load_model(Load((str(demo.F16),))))
    assert "42" in expected
    assert answer(load_model(Load(tuple(str(file) for file in files)))) == expected
    with Gguf.open(files) as gguf:
        spec = spec_for(gguf)
        tensors = check(spec, gguf, {number for number, *_ in _core.tensor_types()})
        assert derived_bytes(spec, gguf) == runtime(gguf).derived_bytes
        assert len(tensors) == len(gguf.tensors) - (10 if style == "both" else 0)


def runtime(gguf: Gguf) -> _core.Model:
    spec = spec_for(gguf)
    executor = CpuExecutor(_core.Machine(1), spec, gguf, check(spec, gguf, range(100)))
    return executor._model


@pytest.mark.parametrize("type", get_args(CacheType))
def test_the_cache_is_as_large_as_placement_says(type: CacheType) -> None:
    with Gguf.open(demo.Q8_0) as gguf:
        cache = _core.KvCache(runtime(gguf), 3, PAGE_TOKENS, type)
        assert cache.bytes == 3 * PAGE_TOKENS * cache_row_bytes(spec_for(gguf), type)


@pytest.mark.parametrize("type", ["f32", "bf16", "q8_0"])
def test_every_type_of_cache_answers(load_model: Callable[[Load], OpenModel], type: CacheType) -> None:
    assert "42" in answer(load_model(Load((str(demo.Q8_0),), cache_type=type)))


def test_progress_ends_with_all_bytes() -> None:
    seen: list[tuple[int, int]] = []
    model, loaded = open_model(Load((str(demo.Q8_0),)), lambda done, total: seen.append((done, total)))
    total = sum(model.sizes.values())
    assert seen[-1] == (total, total)
    assert loaded.memory > total
    assert loaded.context == model.context == 2048


def test_experts_stay_on_disk_when_the_scratch_leaves_them_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """How large it is shows only when the weights are there: these are read anew then, and placement says what is."""
    load = Load((str(demo.F16),), weights="read", context=512, cache_tokens=512, step_tokens=64)
    easy = open_model(load, lambda done, total: None)[1]
    (scratch,) = (row.bytes for row in easy.placement if row.part == "scratch")
    everything = sum(row.bytes for row in easy.placement) + HEADROOM
    monkeypatch.setattr(loader, "available_memory", lambda: everything - scratch // 2)
    totals: list[int] = []
    model, loaded = open_model(load, lambda done, total: totals.append(total))
    assert totals[-1] < totals[0]
    (experts,) = (row for row in loaded.placement if row.part == "routed experts")
    assert "on disk" in experts.reason
    assert loaded.memory <= everything - scratch // 2
    assert answer(model) == "2+0=2, 1+3=4. So 12+30=42.\n</think>\n\n12 + 30 = 42"
