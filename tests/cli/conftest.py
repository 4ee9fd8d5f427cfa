from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CommandLine
from fake_daemon import FakeDaemon, Reply

DEMO = {
    "capabilities": ["completion", "thinking"],
    "details": {"family": "deepseek2", "parameter_size": "12.4M", "quantization_level": "Q8_0"},
    "model_info": {
        "general.architecture": "deepseek2",
        "deepseek2.context_length": 4096,
        "deepseek2.embedding_length": 256,
        "tokenizer.ggml.tokens": [],
    },
    "parameters": 'temperature                    0.6\nstop                           "</s>"',
    "system": "",
    "template": "{{ messages }}",
    "license": "MIT\nfirst line\nsecond line\nthird line",
    "tensors": [{"name": "token_embd.weight", "type": "Q8_0", "shape": [256, 2048]}],
}


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    """A fake daemon that knows the model `demo`."""
    fake = FakeDaemon()
    fake.replies["POST /api/show"] = Reply(DEMO)
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def ktd(daemon: FakeDaemon, tmp_path: Path) -> CommandLine:
    """The command line, told to use the fake daemon."""
    return CommandLine(tmp_path, daemon.url)
