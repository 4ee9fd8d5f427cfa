"""Rules: which parts of a model go to which device, as a YAML file says.

ktd's own are a list of {match: regex on tensor names, device: cpu or cuda:N}. Of KTransformers' files the intent is
read: {match: {name: regex on module names}, replace: {kwargs: {generate_device: ..}}}, without its kernels. In both
the first rule that matches counts. A class beside a name keeps a rule from experts and embedding: what it names there
is modules of one kind (torch.nn.Linear), which these two, replaced as wholes, are not.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from ktd.engine.demand import Part
from ktd.engine.errors import LoadRefused
from ktd.engine.seat import CPU, CUDA

LONGEST = 1 << 20  # characters of a file
MOST_RULES = 1000
# What PyYAML lets through of a date, a number or a tag that is not what it seems, beside its own errors.
NO_YAML = (yaml.YAMLError, RecursionError, ValueError, ArithmeticError, LookupError, AttributeError)
# The modules of KTransformers' models, by the last part of the tensors in them.
MODULES = {
    "token_embd": "model.embed_tokens",
    "output": "lm_head",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_q_a": "self_attn.q_a_proj",
    "attn_q_b": "self_attn.q_b_proj",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
    "attn_kv_b": "self_attn.kv_b_proj",
    "attn_k_b": "self_attn.kv_b_proj",
    "attn_v_b": "self_attn.kv_b_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
    "exp_probs_b": "mlp.gate",
    **{f"ffn_{part}_shexp": f"mlp.shared_experts.{part}_proj" for part in ("gate", "up", "down")},
    **{f"ffn_{part}_exps": "mlp.experts" for part in ("gate", "up", "down", "gate_up")},
}
WHOLES = ("mlp.experts", "embed_tokens")  # modules that no rule with a class means


@dataclass(frozen=True, slots=True)
class Rule:
    number: int  # as they stand in the file
    pattern: re.Pattern[str]
    device: str
    modules: bool = False  # KTransformers': it names modules, and may name some that ktd has not
    kind: bool = False  # ... of one class

    def matches(self, tensor: str) -> bool:
        name = _module(tensor) if self.modules else tensor
        return not (self.kind and name.endswith(WHOLES)) and self.pattern.search(name) is not None


def forced_by(text: str, parts: Sequence[Part], cards: Sequence[str]) -> dict[Part, str]:
    """What the rules of a file say of parts. Raises LoadRefused (bad_option), naming the rule."""
    if not text:
        return {}
    rules = [_on_a_card(rule, cards) for rule in _read(text)]
    used: set[int] = set()
    own = _own(parts)
    forced = {part: device for part in parts if (device := _device(part, own[part], rules, used)) is not None}
    unused = [rule for rule in rules if rule.number not in used and not rule.modules]
    if unused:
        raise _refused(unused[0].number, f"no tensor of this model has {unused[0].pattern.pattern!r} in its name")
    if not forced:
        raise LoadRefused("bad_option", "the rules say nothing about any tensor of this model")
    return forced


def _own(parts: Sequence[Part]) -> dict[Part, list[str]]:
    """The tensors by which each part is known: one that several share, as a tied head does, is the first one's."""
    own: dict[Part, list[str]] = {}
    before: set[str] = set()
    for part in parts:
        own[part] = sorted(part.tensors - before)
        before |= part.tensors
    return own


def _device(part: Part, tensors: Sequence[str], rules: Sequence[Rule], used: set[int]) -> str | None:
    """Where the rules want a part: norms and what else none of them names go with the rest of it."""
    found: dict[str, tuple[Rule, str]] = {}
    for tensor in tensors:
        rule = next((rule for rule in rules if rule.matches(tensor)), None)
        if rule is not None:
            used.add(rule.number)
            found.setdefault(rule.device, (rule, tensor))
    if len(found) > 1:
        (first, _), (second, _), *_ = found.values()
        where = "" if part.layer is None else f" of layer {part.layer}"
        problem = f"rule {first.number} wants {part.name}{where} on {first.device}"
        raise _refused(second.number, f"{problem}, this one part of it on {second.device}; it can only go as a whole")
    for device, (rule, example) in found.items():
        if device == CPU and not part.routed and part.name != "embedding":
            raise _refused(rule.number, f"{example} on the CPU: only routed experts and the embedding can be there")
        return device
    return None


def _module(tensor: str) -> str:
    """KTransformers' name for where a tensor is: `blk.3.attn_q_a.weight` in model.layers.3.self_attn.q_a_proj."""
    stem = tensor.removesuffix(".weight").removesuffix(".bias")
    block = re.fullmatch(r"blk\.(\d+)\.(.*)", stem)
    if block is None:
        return MODULES.get(stem, stem)
    return f"model.layers.{block[1]}.{MODULES.get(block[2], block[2])}"


def _read(text: str) -> Iterator[Rule]:
    if len(text) > LONGEST:
        raise LoadRefused("bad_option", f"a file of rules has at most {LONGEST} characters, not {len(text)}")
    try:
        listed = yaml.safe_load(text)
    except NO_YAML as error:
        raise LoadRefused("bad_option", f"the rules are no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_RULES:
        raise LoadRefused("bad_option", f"rules are a YAML list of 1 to {MOST_RULES}, each with match and device")
    for number, item in enumerate(listed, 1):
        if (rule := _rule(number, item)) is not None:
            yield rule


def _rule(number: int, item: Any) -> Rule | None:
    """None for a rule of KTransformers' that says nothing of devices, or of modules by their class alone."""
    if not isinstance(item, Mapping) or "match" not in item:
        raise _refused(number, "it has no match")
    match, device = item["match"], item.get("device")
    modules, kind = isinstance(match, Mapping), False
    if isinstance(match, Mapping):
        replaced = item.get("replace")
        kwargs = replaced.get("kwargs") if isinstance(replaced, Mapping) else None
        device = kwargs.get("generate_device") if isinstance(kwargs, Mapping) else None
        kind = "class" in match
        match = match.get("name")
        if match is None or device is None:
            return None
    if not isinstance(match, str) or not isinstance(device, str):
        raise _refused(number, "match and device must be text")
    try:
        return Rule(number, re.compile(match), device, modules, kind)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise _refused(number, f"{match!r} is no regular expression: {error}") from error


def _on_a_card(rule: Rule, cards: Sequence[str]) -> Rule:
    """With a device that is there; `cuda` is the first card."""
    device = cards[0] if rule.device == CUDA else rule.device
    if device not in (CPU, *cards):
        raise _refused(rule.number, f"there is no device {device!r}; there are {', '.join((CPU, *cards))}")
    return replace(rule, device=device)


def _refused(number: int, problem: str) -> LoadRefused:
    return LoadRefused("bad_option", f"rule {number}: {problem}")
