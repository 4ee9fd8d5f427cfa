"""Cards as torch tells of them: which may be used, and what is said of those that may not."""

from pathlib import Path

import demo
import pytest
import torch

from ktd.engine import loader
from ktd.engine.cards import Card
from ktd.engine.errors import LoadRefused
from ktd.engine.gpu.found import found
from ktd.engine.loader import open_model
from ktd.engine.messages import Load

FREE = 24 << 30
OLD = "is too old: it has compute capability 7.5, and 8.0 is needed"


def tell(monkeypatch: pytest.MonkeyPatch, *capabilities: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capabilities[number])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"card {number}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (FREE, FREE))


def test_cards_too_old_are_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, (7, 5), (8, 0), (10, 0))
    assert found("auto") == [
        Card("cuda:0", "card 0", 0, OLD),
        Card("cuda:1", "card 1", FREE),
        Card("cuda:2", "card 2", FREE),
    ]
    assert [card.name for card in found("cuda:2, cuda:1")] == ["cuda:1", "cuda:2"]


@pytest.mark.parametrize("devices", ["cuda", "cuda:0", "cuda:1,cuda:0"])
def test_one_that_was_named_is_refused(devices: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, (7, 5), (8, 6))
    with pytest.raises(LoadRefused, match=rf"cuda:0 \(card 0\) {OLD}") as refused:
        found(devices)
    assert refused.value.kind == "bad_option"


def test_one_that_was_only_offered_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tell(monkeypatch, (7, 5))
    (tmp_path / "0000:01:00.0").mkdir()
    monkeypatch.setattr(loader, "NVIDIA", tmp_path)
    _, loaded = open_model(Load((str(demo.F16),), devices="auto"), lambda done, total: None)
    *rows, note = loaded.placement
    assert {row.device for row in rows} == {"cpu"}
    assert (note.part, note.device, note.bytes, note.reason) == ("nothing", "cuda:0", 0, OLD)
