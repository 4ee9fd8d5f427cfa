"""What NVIDIA's tool says, by a stand-in of it on the PATH."""

import pytest

from ktd.engine.graphics import MIB, Card, graphics_cards


@pytest.fixture
def says(tmp_path, monkeypatch):
    def script(body: str) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{body}\n")
        tool.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return script


def test_cards(says):
    says('echo "NVIDIA H200, 143771, 143105"; echo "NVIDIA RTX A6000, Ada, 49140, 1"')
    assert graphics_cards() == (
        Card("NVIDIA H200", 143771 * MIB, 143105 * MIB),
        Card("NVIDIA RTX A6000, Ada", 49140 * MIB, MIB),
    )


@pytest.mark.parametrize(
    "body",
    [
        "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9",
        "echo 'No devices were found'",
        "echo 'NVIDIA H200, [N/A], [N/A]'",
        "echo ',,'",
        "true",
    ],
)
def test_no_card_that_could_be_used(says, body):
    says(body)
    assert graphics_cards() == ()


def test_no_tool(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert graphics_cards() == ()
