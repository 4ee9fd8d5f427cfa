import math

import headers
import pytest

from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Gguf, Value
from ktd.engine.models import spec_for
from ktd.engine.placement import (
    DEFAULT_CONTEXT,
    HEADROOM,
    LEAST_CONTEXT,
    MOST_CONTEXTS,
    PAGE_TOKENS,
    Budget,
    Placement,
    Wish,
    cache_row_bytes,
    place,
)

ROW = 2 * 128  # two layers, each 48 values of 2 bytes, rounded up to cache lines of 64
LONG = 100_000
PLENTY = 1 << 40


def model(context: int = LONG) -> Gguf:
    changed: dict[str, Value | None] = {"context_length": context}
    return headers.deepseek2(changed=changed)


def placed(
    free: int = PLENTY,
    wanted: int | None = None,
    trained: int = LONG,
    derived: int = 0,
    scratch: int = 0,
    cache: int | None = None,
    whole: bool = False,
) -> Placement:
    gguf = model(trained)
    sizes = {name: tensor.nbytes for name, tensor in gguf.tensors.items()}
    return place(spec_for(gguf), sizes, Budget(free, "f16", derived, scratch), Wish(wanted, cache, whole))


def weight_bytes() -> int:
    return sum(tensor.nbytes for tensor in model().tensors.values())


def reason(placement: Placement) -> str:
    return placement.rows[-1].reason


def test_every_byte_has_a_row_and_a_reason() -> None:
    placement = placed(derived=1000, scratch=2000)
    parts = {row.part: row.bytes for row in placement.rows}
    assert list(parts) == [
        *("embedding", "attention", "dense FFN", "routed experts", "shared experts", "routers", "head"),
        *("derived weights", "scratch", "KV cache"),
    ]
    assert placement.bytes == weight_bytes() + 3000 + placement.pages * PAGE_TOKENS * ROW
    assert parts["routed experts"] == 3 * 64 * 24 * 8 * 4
    assert all(row.reason and row.device == "cpu" for row in placement.rows)


def test_a_tied_head_is_counted_once() -> None:
    gguf = model()
    del gguf.tensors["output.weight"]
    sizes = {name: tensor.nbytes for name, tensor in gguf.tensors.items()}
    placement = place(spec_for(gguf), sizes, Budget(PLENTY, "f16"), Wish())
    assert {row.part: row.bytes for row in placement.rows}["head"] == gguf.tensors["output_norm.weight"].nbytes


def test_cache_rows_start_on_cache_lines() -> None:
    spec = spec_for(model())
    assert cache_row_bytes(spec, "f16") == cache_row_bytes(spec, "bf16") == ROW
    assert cache_row_bytes(spec, "f32") == 2 * 192
    assert cache_row_bytes(spec, "q8_0") == 2 * 128  # two blocks of 34 bytes


def test_default_context_and_why() -> None:
    assert placed(trained=2048).context == 2048
    assert "all the model was trained for" in reason(placed(trained=2048))
    assert placed().context == DEFAULT_CONTEXT
    assert f"the default, of {LONG} possible" in reason(placed())


def test_a_wanted_context_is_granted_up_to_what_was_trained() -> None:
    assert placed(wanted=1000).context == 1000
    assert placed(wanted=LONG).context == LONG
    assert placed(wanted=10 * LONG).context == LONG
    assert "1000000 asked for" in reason(placed(wanted=10 * LONG))


def test_the_default_shrinks_to_what_fits() -> None:
    free = weight_bytes() + HEADROOM + 5000 * ROW
    placement = placed(free)
    assert placement.context == 5000 // PAGE_TOKENS * PAGE_TOKENS
    assert placement.pages * PAGE_TOKENS == placement.context
    assert "all that memory allows" in reason(placement)
    assert placement.bytes + HEADROOM <= free


def test_a_wanted_context_is_never_shortened() -> None:
    free = weight_bytes() + HEADROOM + 5000 * ROW
    with pytest.raises(LoadRefused, match="with a context of 6000 tokens"):
        placed(free, wanted=6000)


@pytest.mark.parametrize("free", [0, 1 << 20, HEADROOM + (LEAST_CONTEXT - PAGE_TOKENS) * ROW])
def test_what_does_not_fit_is_refused_with_both_figures(free: int) -> None:
    with pytest.raises(LoadRefused) as refused:
        placed(free, scratch=3 << 30)
    assert refused.value.kind == "out_of_memory"
    needed = math.fsum([weight_bytes(), 3 << 30, HEADROOM, DEFAULT_CONTEXT * ROW]) / (1 << 30)
    expected = f"model requires more system memory ({needed:.1f} GiB) than is available ({free / (1 << 30):.1f} GiB)"
    assert expected in str(refused.value)


def test_the_last_page_is_whole() -> None:
    enough = placed(wanted=33, free=weight_bytes() + HEADROOM + 64 * ROW)
    assert (enough.pages, enough.residence) == (2, "mapped")
    assert placed(wanted=33, free=weight_bytes() + HEADROOM + 64 * ROW - 1).residence == "streamed"


def test_experts_that_memory_cannot_hold_stay_on_disk() -> None:
    experts = 3 * 64 * 24 * 8 * 4
    rest = weight_bytes() - experts + HEADROOM + 64 * ROW
    placement = placed(wanted=64, free=rest + experts // 4)
    assert placement.residence == "streamed"
    assert placement.rows[0].part == "routed experts" and placement.rows[0].bytes == experts // 4
    assert "memory holds 25%" in placement.rows[0].reason
    assert placed(wanted=64, free=rest).rows[0].bytes == 0
    with pytest.raises(LoadRefused, match="requires more system memory"):
        placed(wanted=64, free=rest - 1)


def test_the_cache_holds_more_contexts_when_memory_is_plentiful() -> None:
    whole = DEFAULT_CONTEXT // PAGE_TOKENS
    assert placed().pages == MOST_CONTEXTS * whole
    room = 8 * DEFAULT_CONTEXT * ROW
    assert placed(weight_bytes() + HEADROOM + room).pages == 2 * whole


def test_a_cache_that_was_asked_for_holds_all_requests_together() -> None:
    placement = placed(cache=65536)
    assert (placement.context, placement.pages * PAGE_TOKENS) == (65536, 65536)
    assert placed(cache=65536, wanted=4096).context == 4096
    assert placed(cache=65536, wanted=4096).pages * PAGE_TOKENS == 65536
    assert placed(cache=1000, wanted=4096).context == 1000
    assert "all of the KV cache that was asked for" in reason(placed(cache=1000))
    assert placed(cache=2 * LONG).context == LONG


def test_a_cache_that_was_asked_for_is_never_shortened() -> None:
    free = weight_bytes() + HEADROOM + 40_000 * ROW
    with pytest.raises(LoadRefused, match="with a context of 4096 tokens"):
        placed(free, cache=65536, wanted=4096)


def test_a_whole_context_or_none() -> None:
    free = weight_bytes() + HEADROOM + (LEAST_CONTEXT + 100) * ROW
    assert placed(free).context < DEFAULT_CONTEXT
    with pytest.raises(LoadRefused, match=f"with a context of {DEFAULT_CONTEXT} tokens"):
        placed(free, whole=True)
