from collections.abc import Callable

import demo
import pytest

from ktd.engine.loader import OpenModel, open_model
from ktd.engine.messages import Load


def _ignore(done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="session")
def model() -> OpenModel:
    """The demo model, loaded into this process.

    In F16, where a token's sums are the same to the bit whatever else its step computes. Quantised weights are read in
    panels from 16 tokens on, which add in another order: their last bits depend on how a prompt was cut.
    """
    return open_model(Load((str(demo.F16),)), _ignore)[0]


@pytest.fixture(scope="session")
def load_model() -> Callable[[Load], OpenModel]:
    return lambda load: open_model(load, _ignore)[0]
