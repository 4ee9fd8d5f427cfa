import pytest

from ktd.engine.pace import GUESS, LEAST, PATIENCE, Pace


def test_a_prompt_alone_takes_all() -> None:
    assert Pace(2048).room(0) == 2048


def test_the_first_prompt_beside_others_is_cautious() -> None:
    assert Pace(2048).room(3) == 3 + GUESS


@pytest.mark.parametrize(("rate", "expected"), [(4000.0, 2000), (10.0, LEAST), (1e9, 2047)])
def test_others_wait_no_longer_than_patience_allows(rate: float, expected: int) -> None:
    pace = Pace(2048)
    pace.took(512, 512 / rate)
    assert pace.room(1) == 1 + expected
    assert pace.room(0) == 2048


def test_small_steps_say_nothing() -> None:
    pace = Pace(2048)
    pace.took(LEAST - 1, 10.0)
    assert pace.room(1) == 1 + GUESS


def test_a_change_of_pace_is_followed() -> None:
    pace = Pace(1 << 20)
    pace.took(1000, 1.0)
    for _ in range(20):
        pace.took(1000, 10.0)
    assert pace.room(0) == 1 << 20
    assert pace.room(1) - 1 == pytest.approx(100 * PATIENCE, abs=max(1, LEAST))
