from typing import Any

import pytest

from ktd.daemon.chat.options import terms
from ktd.daemon.errors import BadRequest
from ktd.engine.messages import Sampling


def test_nothing_said_is_ollamas_default() -> None:
    assert terms().sampling == Sampling()


def test_every_option_has_its_place() -> None:
    options = {
        "temperature": 0.1, "top_k": 5, "top_p": 0.5, "min_p": 0.05, "typical_p": 0.7, "repeat_penalty": 1.1,
        "repeat_last_n": 8, "presence_penalty": 0.2, "frequency_penalty": -0.3, "seed": 7, "num_predict": 9,
        "num_keep": 6, "num_ctx": 4096, "stop": ["a"],
    }  # fmt: skip
    found = terms(options, keep_alive=3.0)
    assert found.sampling == Sampling(0.1, 5, 0.5, 0.05, 0.7, 1.1, 8, 0.2, -0.3, seed=7, max_tokens=9, keep=6)
    assert (found.stops, found.context, found.keep_alive) == (("a",), 4096, 3.0)


def test_clients_may_send_everything_they_know() -> None:
    options = {
        "mirostat": 0, "mirostat_tau": 5.0, "tfs_z": 1, "num_gpu": 99, "numa": False, "made_up": {}, "low_vram": None,
        "temperature": None, "top_k": 40.0, "seed": "3", "num_ctx": "512", "stop": "END",
    }  # fmt: skip
    found = terms(options)
    assert found.sampling == Sampling(seed=3)
    assert (found.context, found.stops) == (512, ("END",))


def test_a_request_wins_over_the_model() -> None:
    found = terms({"temperature": 0.6, "top_p": 0.95}, {"temperature": 0, "top_p": None})
    assert (found.sampling.temperature, found.sampling.top_p) == (0, 0.95)


@pytest.mark.parametrize(
    ("option", "value", "field", "wanted"),
    [
        ("num_predict", -1, "max_tokens", None),
        ("num_predict", -2, "max_tokens", None),
        ("num_predict", 1e12, "max_tokens", (1 << 31) - 1),
        ("seed", -1, "seed", None),
        ("seed", (1 << 64) + 5, "seed", 5),
        ("top_k", -1, "top_k", 0),
        ("num_keep", -1, "keep", (1 << 31) - 1),
        ("repeat_last_n", -1, "repeat_last_n", -1),
    ],
)
def test_special_numbers(option: str, value: Any, field: str, wanted: Any) -> None:
    assert getattr(terms({option: value}).sampling, field) == wanted


@pytest.mark.parametrize(("value", "context"), [(1, 4), (0, None), (2048, 2048)])
def test_a_tiny_context_is_raised(value: int, context: int | None) -> None:
    assert terms({"num_ctx": value}).context == context


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_ctx": "big"}, 'option "num_ctx" must be of type integer'),
        ({"num_ctx": True}, 'option "num_ctx" must be of type integer'),
        ({"temperature": []}, 'option "temperature" must be of type float32'),
        ({"temperature": "inf"}, "float32"),
        ({"temperature": 10**400}, "float32"),
        ({"seed": 10**400}, 'option "seed" must be of type integer'),
        ({"temperature": -1}, 'option "temperature" must be at least 0'),
        ({"top_p": 2}, 'option "top_p" must be between 0 and 1'),
        ({"repeat_penalty": 0}, "at least 0.01"),
        ({"stop": 3}, 'option "stop" must be of type array'),
        ({"stop": [3]}, 'option "stop" must be of type array'),
        ({"stop": ["x"] * 65}, "at most 64 stop strings"),
        ({"stop": ["x" * 2000]}, "1024 characters"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        terms(options)
