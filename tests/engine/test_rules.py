"""Rules of placement: ktd's own, and what KTransformers' files want."""

import headers
import pytest
from deepseek_r1 import header

from ktd.engine.demand import Part, parts_of
from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Gguf
from ktd.engine.models import spec_for
from ktd.engine.rules import LONGEST, forced_by

CARDS = ("cuda:0", "cuda:1")


@pytest.fixture(scope="module")
def parts() -> list[Part]:
    gguf = header("UD-IQ1_S")
    return parts_of(spec_for(gguf), {tensor.name: tensor.nbytes for tensor in gguf.tensors.values()}, "f16")


def placed(text: str, parts: list[Part]) -> dict[tuple[str, int | None], str]:
    return {(part.name, part.layer): device for part, device in forced_by(text, parts, CARDS).items()}


def test_the_first_rule_that_matches_counts(parts: list[Part]) -> None:
    rules = r"""
    - {match: 'blk\.(3|4)\.ffn_.*_exps', device: "cuda:1"}
    - {match: '_exps', device: cpu}
    - {match: '^token_embd', device: cuda}
    """
    found = placed(rules, parts)
    assert found.pop(("embedding", None)) == "cuda:0"
    assert set(found) == {("routed experts", layer) for layer in range(3, 61)}
    assert {layer for (_, layer), device in found.items() if device == "cuda:1"} == {3, 4}


def test_no_rules_say_nothing(parts: list[Part]) -> None:
    assert forced_by("", parts, CARDS) == {}


# The form of its rules for two GPUs, shortened: experts, layers, and modules that it alone has.
KTRANSFORMERS = r"""
- match:
    name: "^model.embed_tokens"
  replace:
    class: "default"
    kwargs: {generate_device: "cpu", prefill_device: "cpu"}
- match:
    name: "^model\\.layers\\.(0|[1-9]|[12][0-9])\\.(?!self_attn\\.kv_b_proj).*$"
    class: torch.nn.Linear
  replace:
    class: ktransformers.operators.linear.KTransformersLinear
    kwargs: {generate_device: "cuda:0", prefill_device: "cuda:0", generate_op: "KLinearMarlin"}
- match:
    name: "^model\\.layers\\.(0|[1-9]|[12][0-9])\\.mlp\\.experts$"
  replace:
    class: ktransformers.operators.experts.KTransformersExperts
    kwargs: {prefill_device: "cuda:0", generate_device: "cpu", generate_op: "KExpertsCPU", out_device: "cuda:0"}
  recursive: False
- match:
    class: ktransformers.models.modeling_deepseek_v3.DeepseekV3RotaryEmbedding
  replace:
    class: ktransformers.operators.RoPE.YarnRotaryEmbeddingV3
    kwargs: {generate_device: "cuda:0", prefill_device: "cuda:0"}
- match:
    name: "^model\\.layers\\.([3456][0-9])\\."
  replace:
    class: "default"
    kwargs: {generate_device: "cuda:1", prefill_device: "cuda:1"}
- match:
    name: "rotary_emb$"
  replace:
    class: "default"
    kwargs: {generate_device: "cuda:1"}
- match:
    name: "^model$"
  replace:
    class: "ktransformers.operators.models.KDeepseekV2Model"
    kwargs: {per_layer_prefill_intput_threshold: 0, transfer_map: {30: "cuda:1"}}
"""


def test_ktransformers_files_are_read_for_their_intent(parts: list[Part]) -> None:
    found = placed(KTRANSFORMERS, parts)
    assert found["embedding", None] == "cpu"
    assert {found["routed experts", layer] for layer in range(3, 30)} == {"cpu"}
    assert {found["routed experts", layer] for layer in range(30, 61)} == {"cuda:1"}
    for (name, layer), device in found.items():
        if layer is not None and name != "routed experts":
            assert device == ("cuda:0" if layer < 30 else "cuda:1")
    assert len(found) == 1 + 58 + 61 + 3 + 58
    assert ("head", None) not in found


# ... and of those for one, where the class alone keeps experts from the rule for all layers.
ONE_GPU = r"""
- match:
    name: "^model\\.layers\\.(?!.*self_attn\\.kv_b_proj).*$"
    class: torch.nn.Linear
  replace:
    class: ktransformers.operators.linear.KTransformersLinear
    kwargs: {generate_device: "cuda", prefill_device: "cuda"}
- match:
    name: "^model\\.layers\\..*\\.mlp\\.experts$"
  replace:
    class: ktransformers.operators.experts.KTransformersExperts
    kwargs: {prefill_device: "cuda", generate_device: "cpu", out_device: "cuda"}
- match:
    name: "embed_tokens|lm_head"
    class: torch.nn.Linear
  replace:
    kwargs: {generate_device: "cuda:1"}
- match:
    name: "^model.embed_tokens"
  replace:
    class: "default"
    kwargs: {generate_device: "cpu", prefill_device: "cpu"}
"""


def test_a_class_beside_a_name_means_neither_experts_nor_embedding(parts: list[Part]) -> None:
    found = placed(ONE_GPU, parts)
    assert {found["routed experts", layer] for layer in range(3, 61)} == {"cpu"}
    assert {found["attention", layer] for layer in range(61)} == {"cuda:0"}
    assert (found["embedding", None], found["head", None]) == ("cpu", "cuda:1")


def of(gguf: Gguf) -> list[Part]:
    return parts_of(spec_for(gguf), {tensor.name: tensor.nbytes for tensor in gguf.tensors.values()}, "f16")


def test_a_tensor_that_parts_share_is_the_first_ones() -> None:
    """The embedding, which a tied head and a NextN block read too."""
    tied, drafting = headers.deepseek2(), headers.nextn()
    del tied.tensors["output.weight"]
    for gguf in (tied, drafting):
        assert placed("- {match: token_embd, device: cpu}", of(gguf)) == {("embedding", None): "cpu"}
    both = "- {match: token_embd, device: cpu}\n- {match: output, device: cuda}"
    assert placed(both, of(tied))["head", None] == "cuda:0"
    with pytest.raises(LoadRefused, match=r"rule 1: blk.2.nextn.\w+.weight on the CPU"):
        placed("- {match: nextn, device: cpu}", of(drafting))


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (
            "- {match: 'no_such', device: cpu}",
            r"rule 1: no tensor of this model has 'no_such' in its name",
        ),
        ("- {match: '_exps', device: 'cuda:2'}", r"no device 'cuda:2'; there are cpu, cuda:0, cuda:1"),
        ("- {match: '_exps', device: tpu}", r"no device 'tpu'"),
        ("- {match: 'blk.5.attn_q_a', device: cpu}", r"only routed experts and the embedding can be there"),
        (
            "- {match: 'blk.5.ffn_up_exps', device: 'cuda:1'}\n- {match: '_exps', device: cpu}",
            r"rule 1 wants routed experts of layer 5 on cuda:1, this one .* on cpu|"
            r"rule 2 wants routed experts of layer 5 on cpu, this one .* on cuda:1",
        ),
        ("- {match: '(', device: cpu}", r"'\(' is no regular expression"),
        ("- {match: '(?a)(?u)x', device: cpu}", r"is no regular expression: ASCII and UNICODE"),
        ("- {match: 3, device: cpu}", r"match and device must be text"),
        ("- {device: cpu}", r"rule 1: it has no match"),
        ("- cpu", r"rule 1: it has no match"),
        ("match: x", r"rules are a YAML list"),
        ("[]", r"rules are a YAML list"),
        ("{", r"no YAML"),
        ("!!python/object/apply:os.system [echo]", r"no YAML"),
        ("- {match: {class: torch.nn.Linear}, replace: {class: default}}", r"say nothing about any tensor"),
        ("#" * (LONGEST + 1), r"has at most 1048576 characters"),
        ("[" * 5000, r"no YAML"),
        ("- {match: 2024-13-45, device: cpu}", r"no YAML: month must be in 1\.\.12"),
        (f"- {{match: {'7' * 5000}, device: cpu}}", r"no YAML"),
        (f"- {{match: {'1:' * 300}1.5, device: cpu}}", r"no YAML"),
        ("- {match: !!bool perhaps, device: cpu}", r"no YAML"),
        ("- {match: !!int '', device: cpu}", r"no YAML"),
        ("- {match: !!timestamp soon, device: cpu}", r"no YAML"),
        (f"- {{match: '{'(' * 3000}{')' * 3000}', device: cpu}}", r"is no regular expression: maximum recursion"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(rules: str, problem: str, parts: list[Part]) -> None:
    with pytest.raises(LoadRefused, match=problem) as refused:
        forced_by(rules, parts, CARDS)
    assert refused.value.kind == "bad_option"
