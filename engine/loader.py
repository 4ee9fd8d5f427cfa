"""From a Load request to a model that is ready: checked first, then placed, then read into memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ktd.engine import _core
from ktd.engine.cards import AUTO, Card
from ktd.engine.errors import LoadRefused
from ktd.engine.executor import STEP_TOKENS, Executor, Progress
from ktd.engine.gguf import Gguf, GGUFError
from ktd.engine.memory import available_memory
from ktd.engine.messages import DRAFTING, Load, Loaded, PlacementRow
from ktd.engine.models import spec_for
from ktd.engine.opening import Opened, Reading, on_cpu
from ktd.engine.placement import DEFAULT_CONTEXT, Placement, staying
from ktd.engine.seat import CPU, TORCH_CPU
from ktd.engine.spec import ModelSpec, weights
from ktd.engine.tokenizer import Tokenizer

NVIDIA = Path("/proc/driver/nvidia/gpus")  # a folder for each GPU
MOST_STEP_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class OpenModel:
    """What a worker answers with."""

    spec: ModelSpec
    sizes: Mapping[str, int]  # bytes of each tensor, by name
    tokenizer: Tokenizer
    executor: Executor
    context: int  # longest prompt plus answer, in tokens
    pages: int  # of the executor's cache
    step_tokens: int = STEP_TOKENS  # most tokens of one step; of an encoder, a whole context at least
    parallel: int | None = None  # most sequences in one step
    answer_tokens: int | None = None  # most tokens of one answer
    drafting: int = DRAFTING  # most answers at once for which tokens are guessed
    lookup: int = 0  # most tokens guessed from what the text has said before


def open_model(load: Load, progress: Progress) -> tuple[OpenModel, Loaded]:
    """Raises LoadRefused, and then has taken no memory worth mentioning."""
    try:
        return _open(load, progress)
    except GGUFError as error:
        raise LoadRefused("bad_file", str(error)) from error
    except _core.EngineError as error:
        raise LoadRefused("engine", str(error)) from error


def _open(load: Load, progress: Progress) -> tuple[OpenModel, Loaded]:
    machine = _machine(load)
    with Gguf.open(load.files) as gguf:
        spec = spec_for(gguf, load.context or DEFAULT_CONTEXT)
        spec = spec if load.drafting else replace(spec, draft=())
        free = max(0, available_memory() - load.reserved)
        reading = Reading(machine, gguf, spec, load, free, progress)
        sizes = reading.sizes  # a tensor that is missing or unknown ends it here
        tokenizer = Tokenizer.from_metadata(gguf.metadata)
        if len(tokenizer) > spec.vocab:
            problem = f"the tokenizer has {len(tokenizer)} tokens, the model only {spec.vocab}"
            raise LoadRefused("bad_file", problem)
        opened = _opened(reading)
    placement = opened.placement
    model = OpenModel(
        spec=opened.spec,
        sizes={weight.name: sizes[weight.name] for weight in weights((opened.spec.stages, opened.spec.draft))},
        tokenizer=tokenizer,
        executor=opened.executor,
        context=placement.context,
        pages=placement.pages,
        step_tokens=opened.step_tokens,
        parallel=load.parallel,
        answer_tokens=load.answer_tokens,
        drafting=load.drafting,
        lookup=load.lookup,
    )
    return model, _loaded(load, opened.spec, placement, model.sizes)


def _opened(reading: Reading) -> Opened:
    """On the devices that were asked for; those that were only offered are left alone where they are too small."""
    offered = _cards(reading.load, reading.free)
    cards = [card for card in offered if not card.unfit]
    opened = _on(reading, cards) if cards else on_cpu(reading)
    return _noted(opened, [PlacementRow("nothing", card.name, 0, card.unfit) for card in offered if card.unfit])


def _on(reading: Reading, cards: Sequence[Card]) -> Opened:
    from ktd.engine.gpu.opening import on_cards

    try:
        return on_cards(reading, cards)
    except LoadRefused as refusal:
        if reading.load.devices != AUTO or refusal.kind != "out_of_memory":
            raise
        names = ", ".join(card.name for card in cards)
        return _noted(on_cpu(reading), [PlacementRow("nothing", names, 0, str(refusal))])


def _noted(opened: Opened, notes: Sequence[PlacementRow]) -> Opened:
    return replace(opened, placement=replace(opened.placement, rows=(*opened.placement.rows, *notes)))


def _cards(load: Load, free: int) -> Sequence[Card]:
    """Raises LoadRefused for one that was named and is not there, or is unfit."""
    if load.devices == CPU or (load.devices == AUTO and not any(NVIDIA.glob("*"))):
        return ()
    if load.devices == TORCH_CPU:
        return (Card(TORCH_CPU, "torch on the CPU", free // 2),)
    try:
        from ktd.engine.gpu.found import found
    except ImportError as error:
        if load.devices == AUTO:
            return ()
        raise LoadRefused("bad_option", f"GPUs need torch (pip install 'ktd[gpu]'): {error}") from error
    return found(load.devices)


def _machine(load: Load) -> _core.Machine:
    """The cores that compute; refused here is what was asked for and cannot be."""
    if load.context is not None and load.context < 1:
        raise LoadRefused("bad_option", f"a context of {load.context} tokens is impossible")
    if load.threads is not None and load.threads < 1:
        raise LoadRefused("bad_option", f"{load.threads} threads cannot compute anything")
    if not 1 <= (load.step_tokens or STEP_TOKENS) <= MOST_STEP_TOKENS:
        problem = f"steps of {load.step_tokens} tokens are impossible; there may be {MOST_STEP_TOKENS}"
        raise LoadRefused("bad_option", problem)
    try:
        return _core.Machine(load.threads or 0)
    except (_core.EngineError, TypeError) as error:
        raise LoadRefused("bad_option", str(error)) from error


def _loaded(load: Load, spec: ModelSpec, placement: Placement, sizes: Mapping[str, int]) -> Loaded:
    mapped = sum(sizes[name] for name in staying(spec, placement))
    memory = placement.bytes - placement.gpu_bytes
    return Loaded(
        architecture=spec.architecture,
        context=placement.context,
        memory=memory,
        gpu_memory=placement.gpu_bytes,
        placement=placement.rows,
        mapped=0 if placement.residence == "read" else min(mapped, memory),
        cache_type=load.cache_type,
    )
