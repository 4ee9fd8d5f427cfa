from pathlib import Path

import pytest
from gguf_writer import small_model

from ktd.registry.store import Registry
from ktd.registry.supported import Supported


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def registry(home):
    with Registry.open(home, supported=Supported({"deepseek2"}, {"deepseek-v3"})) as opened:
        yield opened


@pytest.fixture
def weights(tmp_path) -> Path:
    """A model's file, somewhere in the user's own folders."""
    folder = tmp_path / "user"
    folder.mkdir()
    return small_model().write(folder / "Small-Q8_0.gguf")
