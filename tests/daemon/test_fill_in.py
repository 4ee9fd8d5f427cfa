"""Fill-in-the-middle with a model of another family than the demo's, through the real daemon."""

from pathlib import Path

import numpy as np
import ollama
import openai
import tiny_export
import tiny_families
from transformers import PreTrainedModel

PREFIX, SUFFIX = "def add(a, b):\n    return", "\n\nprint(add(1, 2))"
COUNT = 30
CLEAR = 0.05  # between the best two logits; the cache keeps halves, which move logits of this size by less


def greedy(model: PreTrainedModel, tokens: list[int]) -> int:
    row = tiny_families.logits(model, tokens)[-1]
    second, best = np.sort(row)[-2:]
    assert best - second > CLEAR
    return int(row.argmax())


async def test_starcoder_fills_in(
    ollama_client: ollama.AsyncClient, openai_client: openai.AsyncOpenAI, tmp_path: Path
) -> None:
    """The prompt is prefix, suffix, middle, each behind its token; the filling is what transformers goes on with."""
    tiny = tiny_families.MODELS["starcoder2"]
    model = tiny_families.make(tiny)
    path = tiny_export.export(model, tiny, tmp_path / "coder.gguf", code=True)
    digest = await ollama_client.create_blob(path)
    await ollama_client.create("coder", files={"model.gguf": digest})
    assert (await ollama_client.show("coder")).capabilities == ["completion", "insert"]

    id = {text: token for token, text in enumerate(tiny_export.CODE_TOKENS)}
    spelled = [[id[{" ": "\u0120", "\n": "\u010a"}.get(c, c)] for c in text] for text in (PREFIX, SUFFIX)]
    tokens = [id["<fim_prefix>"], *spelled[0], id["<fim_suffix>"], *spelled[1], id["<fim_middle>"]]
    prompt = len(tokens)
    while (best := greedy(model, tokens)) != id["<|endoftext|>"]:
        tokens.append(best)
    assert prompt < len(tokens) < prompt + COUNT

    options = {"temperature": 0, "num_predict": COUNT}
    filled = await ollama_client.generate("coder", PREFIX, suffix=SUFFIX, options=options)
    assert (filled.context, filled.done_reason) == (tokens, "stop")
    done = await openai_client.completions.create(
        model="coder", prompt=PREFIX, suffix=SUFFIX, temperature=0, max_tokens=COUNT
    )
    assert done.choices[0].text == filled.response
