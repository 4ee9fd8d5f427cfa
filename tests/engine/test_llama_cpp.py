"""The same files in llama.cpp: its greedy tokens are ours.

Optional, as llama.cpp takes minutes to build: `pip install llama-cpp-python`, then
`python -P -m pytest -m llama_cpp -W ignore`. Last run on 2026-11-23 with llama-cpp-python 0.3.36: all agree.

Weights and caches are F32. The distance of logits, relative to the largest, is printed (`-s`): about 1e-6, and more
only where llama.cpp itself deviates. Its GELU is a table of halves (gemma, starcoder2, bert: 1e-4), and it rounds the
ends of YaRN's blend to whole pairs where gpt-oss does not (4e-3).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_deepseek
import tiny_encoders
import tiny_export
import tiny_families
from answers import Desk
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray
from stepper import Stepper

from ktd.engine.jobs import Jobs
from ktd.engine.loader import open_model
from ktd.engine.messages import Load

pytestmark = pytest.mark.llama_cpp

PROMPT = [int(t) for t in np.random.default_rng(11).integers(3, 96, 70)]
GENERATED = 20
F32 = 0
LITE_LAYERS = 27  # only models of so many blocks may do without q_lora there
# It no longer reads experts in a tensor each, and merged ones in some architectures only.
UNREAD = {"mixtral-of-2023", "qwen3moe-merged"}
# It adds the two best experts of a group in V2 too, where transformers takes the best, and knows that GLM-4.7-Flash has
# sigmoid routers only by its size.
OTHERWISE = {"v2-groups", "glm-4.7-flash"}
# It ignores their windows; so they are compared within these.
WINDOWLESS = {"phi3-window", "starcoder2-tied-window"}


def opened(path: Path, **options: Any) -> Any:
    import llama_cpp

    return llama_cpp.Llama(
        str(path), n_ctx=256, n_gpu_layers=0, type_k=F32, type_v=F32, verbose=False, n_threads=2, **options
    )


def theirs(path: Path, prompt: list[int], count: int, **options: Any) -> tuple[list[int], NDArray[np.float32]]:
    """Greedy tokens, and the logits that chose them."""
    model = opened(path, logits_all=True, **options)
    model.eval(prompt)
    tokens, rows = [], []
    for _ in range(count):
        rows.append(np.array(model.scores[model.n_tokens - 1]))
        tokens.append(int(rows[-1].argmax()))
        model.eval(tokens[-1:])
    return tokens, np.array(rows)


def ours(path: Path, prompt: list[int], count: int) -> tuple[list[int], NDArray[np.float32]]:
    stepper = Stepper(path)
    rows = [stepper.read(prompt)[-1]]
    tokens = [int(rows[0].argmax())]
    while len(tokens) < count:
        rows.append(stepper.step({0: (tokens[-1:], len(prompt) + len(tokens) - 1)})[0][0])
        tokens.append(int(rows[-1].argmax()))
    return tokens, np.array(rows)


def assert_alike(path: Path, prompt: list[int] = PROMPT, **options: Any) -> None:
    their_tokens, their_logits = theirs(path, prompt, GENERATED, **options)
    tokens, logits = ours(path, prompt, GENERATED)
    off = np.abs(their_logits[0] - logits[0]).max() / np.abs(logits[0]).max()
    print(f"\n{path.stem}: {off:.1e}")
    assert tokens == their_tokens, f"off by {off:.1e} at the first"


@pytest.mark.parametrize("name", sorted(tiny_families.MODELS.keys() - UNREAD))
def test_families(name: str, tmp_path: Path) -> None:
    tiny = tiny_families.MODELS[name]
    path = tiny_export.export(tiny_families.make(tiny), tiny, tmp_path / f"{name}.gguf")
    near = tiny_families.WINDOW - GENERATED
    assert_alike(path, PROMPT[:near] if name in WINDOWLESS else PROMPT)


@pytest.mark.parametrize("variant", sorted((tiny_deepseek.VARIANTS | tiny_deepseek.RELATIVES).keys() - OTHERWISE))
def test_deepseek(variant: str, tmp_path: Path) -> None:
    facts = (tiny_deepseek.VARIANTS | tiny_deepseek.RELATIVES)[variant]
    made = tiny_deepseek.make(variant, layers=3 if facts["q_lora_rank"] else LITE_LAYERS)
    turns = facts.get("rope_parameters", {}).get("beta_fast", 32.0)  # it does not read them from the file
    assert_alike(tiny_deepseek.export(made, tmp_path / f"{variant}.gguf"), yarn_beta_fast=float(turns))


@pytest.mark.parametrize("name", tiny_encoders.MODELS)
def test_encoders(name: str, tmp_path: Path) -> None:
    path = tiny_encoders.export(tiny_encoders.make(name, Type.F32), name, tmp_path / f"{name}.gguf")
    model = open_model(Load((str(path),), cache_type="f32"), lambda done, total: None)[0]
    peer = opened(path, embedding=True)
    for text, vector in zip(tiny_encoders.SENTENCES, Desk(Jobs(model)).embed(*tiny_encoders.SENTENCES), strict=True):
        assert [*model.tokenizer.encode(text), *model.tokenizer.after] == peer.tokenize(text.encode(), special=True)
        other = np.array(peer.embed(text, normalize=False))
        cosine = vector @ other / np.sqrt((vector @ vector) * (other @ other))
        print(f"\n{name}: {1 - cosine:.1e}")
        assert cosine > 0.9999
