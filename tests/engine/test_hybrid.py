"""Placement on cards, for DeepSeek-R1 as its files really are."""

from dataclasses import replace

import deepseek_r1
import headers
import pytest

from ktd.engine.cards import Card, ExpertsWish, experts_wish
from ktd.engine.demand import LOOK_ROWS, Part, look_bytes, parts_of, scratch_bytes
from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Gguf
from ktd.engine.hybrid import RESERVE, Request, place_on_cards, place_with_draft
from ktd.engine.messages import CacheType
from ktd.engine.models import spec_for
from ktd.engine.placement import (
    DEFAULT_CONTEXT,
    HEADROOM,
    MOST_CONTEXTS,
    PAGE_TOKENS,
    Budget,
    Placement,
    Wish,
    staying,
)
from ktd.engine.seat import CPU
from ktd.engine.spec import Embed, MoeFfn

GIB = 1 << 30
H200 = 139 * GIB
PLENTY = 1 << 40
ANY = Wish()
FITTING = ExpertsWish()


def request(
    gguf: Gguf,
    *vram: int,
    ram: int = PLENTY,
    wish: Wish = ANY,
    experts: ExpertsWish = FITTING,
    cache: CacheType = "f16",
) -> Request:
    spec = spec_for(gguf)
    sizes = {name: tensor.nbytes for name, tensor in gguf.tensors.items()}
    cards = [Card(f"cuda:{number}", "a card", bytes) for number, bytes in enumerate(vram)]
    stages = (*spec.stages, *spec.draft)
    return Request(
        parts=parts_of(spec, sizes, cache),
        trained=spec.context,
        budget=Budget(ram, cache),
        wish=wish,
        cards=cards,
        experts=experts,
        scratch=scratch_bytes(stages, spec.dim, 512),
        look=look_bytes(stages),
    )


@pytest.fixture(scope="module")
def iq1_s() -> Gguf:
    return deepseek_r1.header("UD-IQ1_S")


@pytest.fixture(scope="module")
def q2_k() -> Gguf:
    return deepseek_r1.header("UD-Q2_K_XL")


def on(placement: Placement, device: str) -> int:
    return sum(row.bytes for row in placement.rows if row.device == device)


def layers_of_experts(placement: Placement, gguf: Gguf, device: str) -> int:
    stages = zip(spec_for(gguf).stages, placement.seats, strict=True)
    return sum(isinstance(stage, MoeFfn) and seat.experts == device for stage, seat in stages)


def test_the_files_are_the_published_ones(iq1_s: Gguf, q2_k: Gguf) -> None:
    """130.60 and 211.03 GiB, in 1025 tensors."""
    for gguf, size in ((iq1_s, 130.596), (q2_k, 211.034)):
        assert len(gguf.tensors) == 1025
        assert sum(tensor.nbytes for tensor in gguf.tensors.values()) / GIB == pytest.approx(size, abs=0.001)


def test_14_gib_hold_what_every_token_reads_and_32k_of_context(iq1_s: Gguf, q2_k: Gguf) -> None:
    for gguf in (iq1_s, q2_k):
        placement = place_on_cards(request(gguf, 14 * GIB))
        assert placement.context == DEFAULT_CONTEXT
        assert on(placement, "cuda:0") + RESERVE <= 14 * GIB
        assert layers_of_experts(placement, gguf, CPU) == 58
        on_cpu = {row.part for row in placement.rows if row.device == CPU}
        assert on_cpu == {"embedding", "routed experts of layers 3-60"}
        assert placement.gpu_bytes + on(placement, CPU) == placement.bytes
        assert all(row.reason for row in placement.rows)


def test_one_h200_holds_all_of_the_smallest(iq1_s: Gguf) -> None:
    placement = place_on_cards(request(iq1_s, H200))
    assert layers_of_experts(placement, iq1_s, "cuda:0") == 58
    assert placement.context == DEFAULT_CONTEXT
    assert {seat.device for seat in placement.seats} == {"cuda:0"}
    assert on(placement, CPU) == 0
    assert on(placement, "cuda:0") + RESERVE <= H200


def test_a_card_between_holds_whole_layers_of_experts(q2_k: Gguf) -> None:
    """The first ones, as many as fit: one more would not."""
    placement = place_on_cards(request(q2_k, 48 * GIB))
    count = layers_of_experts(placement, q2_k, "cuda:0")
    one = sum(q2_k.tensors[f"blk.20.ffn_{name}_exps.weight"].nbytes for name in ("gate", "up", "down"))
    assert 0 <= 48 * GIB - RESERVE - on(placement, "cuda:0") < one
    rows = {row.part: row for row in placement.rows}
    assert rows[f"routed experts of layers 3-{2 + count}"].device == "cuda:0"
    assert rows[f"routed experts of layers {3 + count}-60"].device == CPU


def test_two_cards_take_the_layers_in_turn_and_alike(q2_k: Gguf) -> None:
    placement = place_on_cards(request(q2_k, H200, H200))
    devices = [seat.device for seat in placement.seats]
    assert devices == sorted(devices) and set(devices) == {"cuda:0", "cuda:1"}
    assert abs(on(placement, "cuda:0") - on(placement, "cuda:1")) < 8 * GIB
    assert layers_of_experts(placement, q2_k, CPU) == 0


def test_cards_of_different_size_are_filled_alike(q2_k: Gguf) -> None:
    placement = place_on_cards(request(q2_k, 24 * GIB, 80 * GIB, experts=ExpertsWish(layers=10)))
    shares = on(placement, "cuda:0") / 24, on(placement, "cuda:1") / 80
    assert 0.5 < shares[0] / shares[1] < 2


def test_experts_as_asked_for(iq1_s: Gguf) -> None:
    def held(text: str) -> int:
        return layers_of_experts(place_on_cards(request(iq1_s, H200, experts=experts_wish(text))), iq1_s, "cuda:0")

    assert (held("0"), held("7"), held("7 layers"), held("1000"), held("auto")) == (0, 7, 7, 58, 58)
    assert held("20GB") == 8  # six layers of 2.44 GB, two of 2.20
    with pytest.raises(LoadRefused, match=r"1\.9 GiB hold no layer of experts: one takes 2\.3 GiB"):
        held("2GB")
    for wrong in ("", "-1", "many", "3.5", "3 cards"):
        with pytest.raises(LoadRefused, match="auto, a number of layers, or a size"):
            experts_wish(wrong)


def test_more_experts_than_fit_are_refused_with_what_would(iq1_s: Gguf) -> None:
    with pytest.raises(
        LoadRefused, match=r"of 20 layers do not fit .* 24\.0 GiB free; those of \d+ layers would"
    ) as no:
        place_on_cards(request(iq1_s, 24 * GIB, wish=Wish(context=4096), experts=ExpertsWish(layers=20)))
    most = int(str(no.value).split("those of ")[1].split()[0])
    wish = Wish(context=4096)
    placement = place_on_cards(request(iq1_s, 24 * GIB, wish=wish, experts=ExpertsWish(layers=most)))
    assert layers_of_experts(placement, iq1_s, "cuda:0") == most
    with pytest.raises(LoadRefused, match=f"those of {most} layers would"):
        place_on_cards(request(iq1_s, 24 * GIB, wish=wish, experts=ExpertsWish(layers=most + 1)))


def test_a_card_below_the_minimum_is_refused_with_the_figures(iq1_s: Gguf) -> None:
    with pytest.raises(
        LoadRefused, match=r"requires more GPU memory \(1\d\.\d GiB: .* cuda:0 \(a card\) has 8\.0"
    ) as no:
        place_on_cards(request(iq1_s, 8 * GIB))
    assert no.value.kind == "out_of_memory"
    assert "for 2048 tokens" in str(no.value) and "--devices cpu" in str(no.value)
    assert place_on_cards(request(iq1_s, 8 * GIB + no.value.short)).context == 2048
    with pytest.raises(LoadRefused):
        place_on_cards(request(iq1_s, 8 * GIB + no.value.short - (1 << 20)))


def test_the_default_context_shrinks_before_a_model_is_refused(iq1_s: Gguf) -> None:
    placement = place_on_cards(request(iq1_s, 12 * GIB + GIB // 2))
    assert placement.context in (4096, 8192, 16384)
    with pytest.raises(LoadRefused, match="for 32768 tokens"):
        place_on_cards(request(iq1_s, 12 * GIB + GIB // 2, wish=Wish(context=32768)))


def test_the_cache_holds_more_contexts_where_cards_have_plenty(iq1_s: Gguf) -> None:
    placement = place_on_cards(request(iq1_s, H200, wish=Wish(context=4096), experts=ExpertsWish(layers=0)))
    assert placement.pages == MOST_CONTEXTS * 4096 // PAGE_TOKENS
    asked = place_on_cards(request(iq1_s, H200, wish=Wish(context=4096, cache=8192)))
    assert asked.pages == 8192 // PAGE_TOKENS


def test_experts_that_memory_cannot_hold_stay_on_disk(iq1_s: Gguf) -> None:
    assert place_on_cards(request(iq1_s, 14 * GIB, ram=128 * GIB)).residence == "mapped"
    assert place_on_cards(request(iq1_s, 14 * GIB, ram=64 * GIB)).residence == "streamed"
    with pytest.raises(LoadRefused, match="stays off the GPUs needs more system memory"):
        place_on_cards(request(iq1_s, 14 * GIB, ram=64 * GIB, wish=Wish(whole=True)))


def test_every_stage_has_a_seat_and_every_part_a_row() -> None:
    gguf = headers.deepseek2()
    placement = place_on_cards(request(gguf, 2 * GIB, experts=ExpertsWish(layers=0)))
    spec = spec_for(gguf)
    for stage, seat in zip(spec.stages, placement.seats, strict=True):
        assert seat.device == (CPU if isinstance(stage, Embed) else "cuda:0")
        assert seat.experts == (CPU if isinstance(stage, MoeFfn) else None)
    weights = sum(row.bytes for row in placement.rows if row.part not in ("scratch", "KV cache"))
    assert weights == sum(tensor.nbytes for tensor in gguf.tensors.values())
    assert isinstance(parts_of(spec, {t.name: t.nbytes for t in gguf.tensors.values()}, "f16")[0], Part)


def test_a_card_that_is_nearly_full_is_left_out(iq1_s: Gguf) -> None:
    """Wherever it stands, what the other holds alone is placed."""
    alone = place_on_cards(request(iq1_s, H200))
    for vram, device in (((GIB // 4, H200), "cuda:1"), ((H200, GIB // 4), "cuda:0")):
        placement = place_on_cards(request(iq1_s, *vram))
        assert {seat.device for seat in placement.seats} == {device}
        assert (placement.context, placement.pages) == (alone.context, alone.pages)
        assert placement.gpu_bytes == alone.gpu_bytes
    with pytest.raises(LoadRefused) as one:
        place_on_cards(request(iq1_s, 8 * GIB))
    with pytest.raises(LoadRefused) as beside:
        place_on_cards(request(iq1_s, GIB // 4, 8 * GIB))
    assert beside.value.short == one.value.short


def test_a_longer_context_needs_more_to_look_back_over(iq1_s: Gguf) -> None:
    def scratch(context: int) -> int:
        placement = place_on_cards(request(iq1_s, H200, wish=Wish(context=context)))
        return next(row.bytes for row in placement.rows if row.part == "scratch")

    assert scratch(2048) == scratch(LOOK_ROWS)
    assert scratch(163840) - scratch(LOOK_ROWS) == (163840 - LOOK_ROWS) * 576 * 8


def test_of_experts_on_disk_memory_holds_what_it_can(iq1_s: Gguf) -> None:
    ram, embedding = 64 * GIB, iq1_s.tensors["token_embd.weight"].nbytes
    placement = place_on_cards(request(iq1_s, 14 * GIB, ram=ram))
    rows = {row.part: row for row in placement.rows if row.device == CPU}
    experts = rows["routed experts of layers 3-60"]
    assert experts.bytes == ram - HEADROOM - embedding
    assert "GiB on disk, read as they are chosen: memory holds 5" in experts.reason
    assert staying(spec_for(iq1_s), placement) == {"token_embd.weight"}


def test_what_stays_in_memory_is_what_no_card_has(iq1_s: Gguf) -> None:
    spec = spec_for(iq1_s)
    held = staying(spec, place_on_cards(request(iq1_s, 14 * GIB)))
    assert held == {name for name in iq1_s.tensors if name == "token_embd.weight" or "_exps." in name}
    assert staying(spec, place_on_cards(request(iq1_s, H200))) == set()
    assert staying(spec, Placement((), 0, 0, "mapped")) == set(iq1_s.tensors)


def drafting(vram: int, ram: int = PLENTY, experts: ExpertsWish = FITTING) -> tuple[Request, int]:
    """A model of two layers and a block that predicts, every tensor of a GiB; and the number of the model's stages."""
    gguf = headers.nextn()
    spec, asked = spec_for(gguf), request(gguf, vram, ram=ram, experts=experts)
    return replace(asked, parts=parts_of(spec, dict.fromkeys(gguf.tensors, GIB), "f16")), len(spec.stages)


def weights(placement: Placement) -> int:
    return sum(row.bytes for row in placement.rows if row.part not in ("scratch", "KV cache"))


def test_what_two_parts_share_is_on_a_card_once() -> None:
    asked, _ = drafting(PLENTY)
    placement = place_on_cards(asked)
    assert on(placement, CPU) == 0
    assert weights(placement) == GIB * len(headers.nextn().tensors)
    exact = replace(asked, wish=Wish(context=256, cache=256))
    needed = on(place_on_cards(exact), "cuda:0") + RESERVE
    assert on(place_on_cards(replace(exact, cards=[Card("cuda:0", "a card", needed)])), CPU) == 0


def test_a_draft_takes_only_what_the_model_does_not_want() -> None:
    asked, stages = drafting(PLENTY)
    assert len(place_with_draft(asked, stages).seats) > stages
    alone = place_on_cards(asked.first(stages))
    kept = []
    for spare in range(25):
        tight, _ = drafting(on(alone, "cuda:0") + RESERVE + spare * GIB)
        placement = place_with_draft(tight, stages)
        assert [seat.experts for seat in placement.seats[:stages]] == [seat.experts for seat in alone.seats]
        kept.append(len(placement.seats) > stages)
        assert kept[-1] or weights(placement) == weights(alone)
    assert kept == sorted(kept) and set(kept) == {False, True}


def test_a_draft_does_not_send_experts_to_the_disk() -> None:
    """Three tensors of the model's experts and the embedding stay behind, and three of the draft's."""
    none = ExpertsWish(layers=0)
    for ram, kept, residence in ((8, True, "mapped"), (6, False, "mapped"), (3, False, "streamed")):
        asked, stages = drafting(PLENTY, ram * GIB, none)
        placement = place_with_draft(asked, stages)
        assert (len(placement.seats) > stages, placement.residence) == (kept, residence)


def test_rules_for_a_draft_that_is_left_out_are_too() -> None:
    asked, stages = drafting(PLENTY, 6 * GIB, ExpertsWish(layers=0))
    ruled = {part: "cuda:0" for part in asked.parts if part.name == "NextN block"}
    assert ruled and len(place_with_draft(replace(asked, forced=ruled), stages).seats) == stages
