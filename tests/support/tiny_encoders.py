"""Small random encoders, made by transformers and exported in the conventions of llama.cpp's converter."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import tiny_families
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray
from tiny_families import Tiny
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedModel

CONTEXT = 64
SHAPE = {"max_position_embeddings": CONTEXT, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
XLM = {"pad_token_id": 1, "max_position_embeddings": CONTEXT + 2}  # its positions begin behind the padding's number
MODELS = {
    "bert": Tiny("bert", "Bert", {**SHAPE, "layer_norm_eps": 1e-12}, "Model"),
    "nomic-bert": Tiny("nomic-bert", "NomicBert", {**SHAPE, "head_dim": 32, "layer_norm_eps": 1e-12}, "Model"),
    "xlm-roberta": Tiny("bert", "XLMRoberta", {**SHAPE, **XLM, "layer_norm_eps": 1e-12, "type_vocab_size": 1}, "Model"),
}
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
XLM_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
SENTENCES = [
    "The quick brown fox jumps over the lazy dog",
    "A token is a piece of a word, and words are pieces of texts.",
    "Embeddings of near sentences are near; those of far ones are far!",
    "def f(x): return x + 1  # 42",
]
NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "attn_output_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_mlp_layernorm": "layer_output_norm",
}
Array = NDArray[np.float32]


@cache
def vocabulary() -> list[str]:
    """Trained on the sentences; 96 tokens, as transformers spells them."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=96, special_tokens=SPECIALS, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    trained: dict[str, int] = json.loads(tokenizer.to_str())["model"]["vocab"]
    return sorted(trained, key=trained.__getitem__)


@cache
def pieces() -> list[tuple[str, float]]:
    """XLM-RoBERTa's kind of vocabulary with its scores, 96 tokens, trained on the sentences."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=96, special_tokens=XLM_SPECIALS, unk_token="<unk>", show_progress=False, n_sub_iterations=1
    )
    tokenizer.train_from_iterator(SENTENCES * 20, trainer)
    return [(text, score) for text, score in json.loads(tokenizer.to_str())["model"]["vocab"]]


def reference_tokens(name: str, text: str) -> list[int]:
    """transformers' tokens of a text."""
    if name == "xlm-roberta":
        return list(transformers.XLMRobertaTokenizer(vocab=pieces())(text)["input_ids"])
    ids = {token: number for number, token in enumerate(vocabulary())}
    return list(transformers.BertTokenizer(vocab=ids)(text)["input_ids"])


def make(name: str, type: Type) -> PreTrainedModel:
    """With weights that a file of this type holds exactly."""
    tiny = MODELS[name]
    model = tiny_families.make(tiny)
    tiny_families.round_weights(model, tiny, type)
    return model


def states(model: PreTrainedModel, tokens: list[int], dtype: torch.dtype = torch.float32) -> NDArray[np.float64]:
    """[tokens, dim] of one text."""
    with torch.no_grad():
        out = model.to(dtype)(torch.tensor([tokens])).last_hidden_state[0].double().numpy()
    model.to(torch.float32)
    return np.asarray(out, dtype=np.float64)


def rounded_states(model: PreTrainedModel, tokens: list[int]) -> NDArray[np.float64]:
    """As `states` in float64, with the inputs of every narrow weight rounded as the kernels round them."""
    model.to(torch.float64)
    with tiny_families.RoundedInputs(model):
        return states(model, tokens, torch.float64)


def export(model: PreTrainedModel, name: str, path: Path, type: Type = Type.F32, pooling: int = 1) -> Path:
    writer = gguf.GGUFWriter(path, MODELS[name].architecture)
    _write_metadata(writer, model.config, pooling)
    (_write_pieces if name == "xlm-roberta" else _write_words)(writer)
    for ours, value in _tensors(model, fused=name == "nomic-bert"):
        narrow = value.ndim > 1 and ours not in ("position_embd.weight", "token_types.weight")
        stored = type if narrow else Type.F32
        writer.add_tensor(ours, gguf.quantize(np.ascontiguousarray(value), stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(model: PreTrainedModel, *, fused: bool) -> Iterator[tuple[str, Array]]:
    """`fused`: q, k and v in one tensor."""
    state = {name: value.float().numpy() for name, value in model.state_dict().items()}
    if model.config.model_type == "xlm-roberta":
        positions = "embeddings.position_embeddings.weight"
        state[positions] = state[positions][model.config.pad_token_id + 1 :]
    for name, value in state.items():
        stem, _, kind = name.removeprefix("encoder.").rpartition(".")
        block, part = "", stem
        if stem.startswith("layer"):
            _, layer, part = stem.split(".", 2)
            block = f"blk.{layer}."
        if part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj") and fused:
            if part == "self_attn.q_proj":
                parts = [state[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
                yield f"{block}attn_qkv.weight", np.concatenate(parts)
        elif not part.startswith("pooler"):
            yield f"{block}{NAMES[part]}.{kind}", value


def _write_metadata(w: gguf.GGUFWriter, c: Any, pooling: int) -> None:
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_layer_norm_eps(c.layer_norm_eps)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType(pooling))
    if getattr(c, "rope_parameters", None):
        w.add_rope_freq_base(c.rope_parameters["rope_theta"])


def _write_pieces(w: gguf.GGUFWriter) -> None:
    unused = [(f"[PAD{number}]", -10000.0) for number in range(tiny_families.SHAPE["vocab_size"] - len(pieces()))]
    texts, scores = zip(*pieces(), *unused, strict=True)
    w.add_tokenizer_model("t5")
    w.add_tokenizer_pre("default")
    w.add_token_type_count(1)
    w.add_token_list(list(texts))
    w.add_token_scores(list(scores))
    w.add_token_types([3, 3, 3, 2] + [1] * (len(pieces()) - len(XLM_SPECIALS)) + [5] * len(unused))
    w.add_add_space_prefix(True)
    w.add_remove_extra_whitespaces(True)
    w.add_add_bos_token(True)
    w.add_add_eos_token(True)
    w.add_bos_token_id(0)
    w.add_eos_token_id(2)
    w.add_unk_token_id(3)
    w.add_pad_token_id(1)


def _write_words(w: gguf.GGUFWriter) -> None:
    special = len(SPECIALS)
    texts = [text[2:] if text.startswith("##") else f"\u2581{text}" for text in vocabulary()[special:]]
    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("jina-v2-en")
    w.add_token_type_count(2)
    w.add_token_list([*SPECIALS, *texts])
    w.add_token_types([3] * special + [1] * len(texts))
    for add, text in ((w.add_unk_token_id, "[UNK]"), (w.add_bos_token_id, "[CLS]"), (w.add_sep_token_id, "[SEP]")):
        add(SPECIALS.index(text))
