import pytest

from ktd.engine.pace import ALONE, BESIDE, SMALL, Pace


def test_the_first_prompt_is_cautious() -> None:
    assert Pace(2048).room(0) == ALONE.guess
    assert Pace(2048).room(3) == 3 + BESIDE.guess


@pytest.mark.parametrize(
    ("rate", "beside", "alone"), [(4000, 2000, 2048), (100, 64, 800), (10, 64, 512), (1e9, 2047, 2048)]
)
def test_a_step_lasts_no_longer_than_patience_allows(rate: float, beside: int, alone: int) -> None:
    pace = Pace(2048)
    pace.took(512, 512 / rate)
    assert pace.room(1) == 1 + beside
    assert pace.room(0) == alone


def test_small_steps_say_nothing() -> None:
    pace = Pace(2048)
    pace.took(SMALL - 1, 10.0)
    assert pace.room(1) == 1 + BESIDE.guess


def test_a_change_of_pace_is_followed() -> None:
    pace = Pace(1 << 20)
    pace.took(1000, 1.0)
    for _ in range(20):
        pace.took(1000, 10.0)
    assert pace.room(0) == pytest.approx(100 * ALONE.seconds, abs=1)
    assert pace.room(1) - 1 == max(BESIDE.least, int(100 * BESIDE.seconds))
