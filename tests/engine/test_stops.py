from hypothesis import given
from hypothesis import strategies as st

from ktd.engine.stops import StopFilter

# Few letters, so that stops and their beginnings occur.
texts = st.text(alphabet="abc\n", max_size=40)
stops = st.lists(st.text(alphabet="abc\n", max_size=5), max_size=4)


def whole(text: str, stops: list[str]) -> tuple[str, bool]:
    """By definition: cut where the stop that is complete first begins."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if stop and text[:end].endswith(stop)]
        if found:
            return text[: end - len(max(found, key=len))], True
    return text, False


@given(texts, stops, st.lists(st.integers(1, 7)))
def test_any_cutting_gives_the_same_text(text: str, stops: list[str], cuts: list[int]) -> None:
    filter, out, position = StopFilter(stops), "", 0
    for cut in [*cuts, len(text)]:
        out += filter.push(text[position : position + cut])
        position += cut
    out += filter.finish()
    assert (out, filter.stopped) == whole(text, stops)


@given(texts, stops)
def test_what_came_out_was_certain(text: str, stops: list[str]) -> None:
    """No character comes out that a stop would have taken away, and none is held back without need."""
    filter, out = StopFilter(stops), ""
    for index, character in enumerate(text):
        out += filter.push(character)
        if filter.stopped:
            break
        held = text[len(out) : index + 1]
        assert out + held == text[: index + 1]
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


def test_a_stop_over_many_tokens_is_never_seen() -> None:
    filter = StopFilter(["</answer>"])
    pieces = [filter.push(piece) for piece in ["it is <", "b> 42 </ans", "wer", "> and"]]
    assert pieces == ["it is ", "<b> 42 ", "", ""]
    assert filter.stopped and filter.finish() == ""


def test_held_text_comes_at_the_end() -> None:
    filter = StopFilter(["stop"])
    assert filter.push("please sto") == "please "
    assert filter.finish() == "sto"
