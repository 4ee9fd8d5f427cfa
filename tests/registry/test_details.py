"""What a header says of a model."""

import pytest
from gguf_writer import ARRAY, FLOAT32, INT32, STRING, UINT32, array, small_model

from ktd.engine.gguf import Gguf, GGUFError, Tensor, TensorType
from ktd.registry.details import capabilities, describe, quantization, sampling_defaults, size_label


@pytest.mark.parametrize(
    ("count", "label"),
    [
        (671_026_404_352, "671B"),
        (1_026_000_000_000, "1T"),
        (15_706_484_224, "15.7B"),
        (8_000_000_000, "8B"),
        (99_960_000_000, "100B"),
        (12_352_032, "12.4M"),
        (999, "999"),
        (1_500, "1.5K"),
    ],
)
def test_size_labels(count, label):
    assert size_label(count) == label


def tensors(*rows: tuple[str, TensorType, int]) -> list[Tensor]:
    return [Tensor(name, kind, (256, blocks), 0, 0, kind.size(256 * blocks)) for name, kind, blocks in rows]


T = TensorType


@pytest.mark.parametrize(
    ("rows", "level"),
    [
        ([("token_embd.weight", T.F16, 8)], "F16"),
        ([("blk.0.ffn_gate_exps.weight", T.IQ1_S, 90), ("blk.0.attn_q.weight", T.Q4_K, 9)], "IQ1_S"),
        ([("blk.0.ffn_up.weight", T.Q4_K, 20), ("blk.0.ffn_down.weight", T.Q6_K, 9)], "Q4_K_M"),
        ([("blk.0.ffn_up.weight", T.Q4_K, 20), ("output.weight", T.Q6_K, 9)], "Q4_K_S"),
        ([("blk.0.ffn_up.weight", T.Q5_K, 20), ("blk.0.ffn_down.weight", T.Q6_K, 9)], "Q5_K_M"),
        ([("blk.0.ffn_up.weight", T.Q3_K, 20), ("blk.0.ffn_down.weight", T.Q5_K, 9)], "Q3_K_L"),
        ([("blk.0.ffn_up.weight", T.Q3_K, 20), ("blk.0.ffn_down.weight", T.Q4_K, 9)], "Q3_K_M"),
        ([("blk.0.ffn_up.weight", T.Q3_K, 20), ("blk.0.ffn_down.weight", T.Q3_K, 9)], "Q3_K_S"),
        ([("blk.0.ffn_up.weight", T.Q2_K, 20), ("blk.0.ffn_down.weight", T.Q3_K, 9)], "Q2_K"),
        ([], "unknown"),
    ],
)
def test_quantization_is_counted(rows, level):
    assert quantization(tensors(*rows)) == level


def test_file_type_is_not_believed(tmp_path):
    details = describe(Gguf.open(small_model().key("general.file_type", UINT32, 15).write(tmp_path / "m.gguf")))
    assert details.quantization_level == "Q8_0"
    assert details.parameter_count == 32 * 3 + 32 + 32 * 2
    assert (details.family, details.families, details.format) == ("deepseek2", ("deepseek2",), "gguf")
    assert (details.context_length, details.embedding_length) == (64, 32)


def of(tmp_path, template, **keys):
    model = small_model()
    for key, (kind, value) in keys.items():
        model = model.key(f"tokenizer.ggml.{key}", kind, value)
    return capabilities(Gguf.open(model.write(tmp_path / "m.gguf")), template)


def test_capabilities_come_from_template_and_tokens(tmp_path):
    assert of(tmp_path, None) == ("completion",)
    assert of(tmp_path, "{% for t in tools %}") == ("completion", "tools")
    assert of(tmp_path, "{{ x.split('</think>')[-1] }}") == ("completion", "thinking")
    assert of(tmp_path, '{{ x.split("</think>") | last }}') == ("completion", "thinking")
    assert of(tmp_path, "</think>") == ("completion",)
    assert of(tmp_path, "{% if enable_thinking %}{{ x }}</think>") == ("completion", "thinking")
    assert of(tmp_path, "[THINK]{{ x }}[/THINK]") == ("completion", "thinking")
    assert of(tmp_path, "<|channel|>analysis<|message|>") == ("completion", "thinking")
    assert of(tmp_path, "{{ range .Messages }}{{ .Thinking }}{{ end }}") == ("completion", "thinking")
    assert of(tmp_path, "{{- if .Tools }}{{ end }}") == ("completion", "tools")
    assert of(tmp_path, "<think></think>") == ("completion", "thinking")
    fim = array(STRING, ["a", "<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"])
    assert of(tmp_path, None, tokens=(ARRAY, fim)) == ("completion", "insert")


def test_embedding_models_complete_nothing(tmp_path):
    model = small_model("bert").key("bert.pooling_type", UINT32, 1)
    assert capabilities(Gguf.open(model.write(tmp_path / "m.gguf")), None) == ("embedding",)


def test_sampling_defaults(tmp_path):
    model = (
        small_model()
        .key("general.sampling.temp", FLOAT32, 0.5)
        .key("general.sampling.top_k", INT32, 20)
        .key("general.sampling.penalty_last_n", INT32, -1)
    )
    assert sampling_defaults(Gguf.open(model.write(tmp_path / "m.gguf"))) == {
        "temperature": 0.5,
        "top_k": 20,
        "repeat_last_n": -1,
    }
    bad = small_model().key("general.sampling.top_p", STRING, "much")
    with pytest.raises(GGUFError, match=r"'general\.sampling\.top_p' must be a finite number"):
        sampling_defaults(Gguf.open(bad.write(tmp_path / "bad.gguf")))
