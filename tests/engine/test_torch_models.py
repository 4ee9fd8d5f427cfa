"""Models on torch's CPU device, in place of a GPU, from file to answer: alone, and with experts in the CPU runtime."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import demo
import pytest
import torch
from answers import Desk, Heard, chat

from ktd.engine.errors import DeviceLost, LoadRefused
from ktd.engine.gpu.torch_products import TorchMatrices, TorchProducts
from ktd.engine.jobs import Jobs
from ktd.engine.loader import OpenModel, open_model
from ktd.engine.messages import Load, Loaded, Prompt, Sampling
from ktd.engine.seat import TORCH_CPU

SAMPLING = Sampling(temperature=0.0, max_tokens=48)
MARKERS = tuple(demo.script("gen").TAIL_SPECIALS)


def answers(model: OpenModel) -> list[str]:
    """One question of each skill, all together."""
    desk = Desk(Jobs(model))
    items = demo.script("gen").eval_set(1, 77)
    heard: list[Heard] = [desk.add(Prompt(item["prompt"], markers=MARKERS), SAMPLING) for item in items]
    desk.drain()
    return [each.text for each in heard]


def opened(load: Load) -> tuple[OpenModel, Loaded]:
    return open_model(load, lambda done, total: None)


@pytest.fixture(scope="module")
def expected(model: OpenModel) -> list[str]:
    return answers(model)


@pytest.mark.parametrize("experts", ["0", "2", "auto"])
def test_answers_are_the_cpus(experts: str, expected: list[str], load_model: Callable[[Load], OpenModel]) -> None:
    """In F16; with quantised weights a rounding that tips may tip the next word of a story."""
    assert answers(load_model(Load((str(demo.F16),), devices=TORCH_CPU, gpu_experts=experts))) == expected


def test_prefixes_are_shared(load_model: Callable[[Load], OpenModel]) -> None:
    desk = Desk(Jobs(load_model(Load((str(demo.F16),), devices=TORCH_CPU, gpu_experts="0"))))
    longest = max((item["prompt"] for item in demo.script("gen").eval_set(1, 77)), key=len)
    first, again = (desk.ask(longest, SAMPLING) for _ in range(2))
    assert again.text == first.text != ""
    assert again.done.cached_tokens and not first.done.cached_tokens


def test_the_table_says_where_everything_went() -> None:
    _, loaded = opened(Load((str(demo.F16),), devices=TORCH_CPU, gpu_experts="2"))
    devices = {row.part: row.device for row in loaded.placement}
    assert devices["attention"] == devices["KV cache"] == TORCH_CPU
    assert devices["embedding"] == "cpu"
    experts = [row for row in loaded.placement if row.part.startswith("routed experts of layer")]
    assert [row.device for row in experts] == [TORCH_CPU, "cpu"]
    assert all(row.reason for row in loaded.placement)
    assert loaded.gpu_memory == 0  # it is main memory


@pytest.mark.parametrize("type", ["f32", "bf16", "q8_0"])
def test_every_type_of_cache(type: Any, load_model: Callable[[Load], OpenModel]) -> None:
    model = load_model(Load((str(demo.Q8_0),), devices=TORCH_CPU, cache_type=type))
    assert "42" in Desk(Jobs(model)).ask(chat("What is 12 + 30?", think=True)).text


@pytest.mark.parametrize(("devices", "problem"), [("cuda:7", "no device 'cuda:7'"), ("gpu", "no device 'gpu'")])
def test_devices_that_are_not_there(devices: str, problem: str) -> None:
    with pytest.raises(LoadRefused, match=f"{problem} that torch can use; there are cpu") as refused:
        opened(Load((str(demo.F16),), devices=devices))
    assert refused.value.kind == "bad_option"


def test_auto_without_gpus_is_the_cpu() -> None:
    """Where a GPU is, this model fits it."""
    _, loaded = opened(Load((str(demo.F16),), devices="auto"))
    assert {row.device for row in loaded.placement} <= ({"cpu"} if not torch.cuda.is_available() else {"cpu", "cuda:0"})


class Scarce:
    """Memory that runs out after so many bytes of weights, however often it is tried anew."""

    def __init__(self, times: int) -> None:
        self.times = times

    def matrices(self, products: TorchProducts, stored: Any) -> TorchMatrices:
        if self.times:
            self.times -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return TorchMatrices(stored, products.device)


def scarce(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    memory = Scarce(times)
    monkeypatch.setattr(TorchProducts, "matrices", lambda products, stored: memory.matrices(products, stored))


def test_a_smaller_placement_is_tried_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    scarce(monkeypatch, 2)
    model, loaded = opened(Load((str(demo.F16),), devices=TORCH_CPU))
    assert loaded.placement[-1].part == "memory"
    assert "ran out while loading: placed for" in loaded.placement[-1].reason
    assert "42" in Desk(Jobs(model)).ask(chat("What is 12 + 30?", think=True)).text


def test_memory_that_always_runs_out_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    scarce(monkeypatch, 1000)
    with pytest.raises(LoadRefused, match="GPU memory ran out 4 times while loading") as refused:
        opened(Load((str(demo.F16),), devices=TORCH_CPU))
    assert refused.value.kind == "out_of_memory"


def test_a_fault_of_the_device_ends_the_worker_and_memory_does_not(
    monkeypatch: pytest.MonkeyPatch, load_model: Callable[[Load], OpenModel]
) -> None:
    """After a fault nothing on a GPU can be trusted; memory that ran out fails what asked for it."""
    model = load_model(Load((str(demo.F16),), devices=TORCH_CPU))
    errors: list[Exception] = [torch.OutOfMemoryError("CUDA out of memory"), torch.AcceleratorError("illegal access")]

    def fail(*_: object) -> None:
        raise errors.pop(0)

    desk = Desk(Jobs(replace(model)))
    monkeypatch.setattr(TorchMatrices, "multiply", fail)
    assert "out of memory" in str(desk.ask("Hello").failed)
    with pytest.raises(DeviceLost, match="illegal access"):
        desk.ask("Hello")
