"""The demo model as the tests use it: its files, its training scripts, and the same weights in transformers."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import save_file
from transformers import DeepseekV3ForCausalLM, PreTrainedModel

ROOT = Path(__file__).resolve().parents[2] / "packaging" / "demo"
BUNDLE = ROOT / "model"
F16 = ROOT / "ktd-tiny-f16.gguf"
Q8_0 = BUNDLE / "ktd-tiny-q8_0.gguf"


def script(name: str) -> ModuleType:
    """A module of packaging/demo/train: the generator with its checks, the exporter."""
    folder = str(ROOT / "train")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def in_transformers(path: Path, folder: Path) -> PreTrainedModel:
    """The weights of a GGUF, dequantised, in transformers' own implementation. `folder` holds the copy it loads."""
    config = json.loads((BUNDLE / "config.json").read_text())
    arrays = script("to_gguf").load(path, config)
    tensors = {name: torch.from_numpy(array.copy()).float() for name, array in arrays.items()}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return DeepseekV3ForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    ).eval()
