"""From a Load request to a model that is ready: checked first, then placed, then read into memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ktd.engine import _core
from ktd.engine.check import check
from ktd.engine.errors import LoadRefused
from ktd.engine.executor import STEP_TOKENS, CpuExecutor, Executor, Progress, derived_bytes
from ktd.engine.gguf import Gguf, GGUFError, Tensor
from ktd.engine.memory import available_memory
from ktd.engine.messages import DRAFTING, Load, Loaded, Residence
from ktd.engine.models import spec_for
from ktd.engine.placement import DEFAULT_CONTEXT, Budget, Placement, Wish, draft_fits, place, routed_experts
from ktd.engine.spec import ModelSpec
from ktd.engine.tokenizer import Tokenizer

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
        types = {number for number, *_ in _core.tensor_types()}
        sizes = _sizes(check(spec, gguf, types))
        tokenizer = Tokenizer.from_metadata(gguf.metadata)
        if len(tokenizer) > spec.vocab:
            problem = f"the tokenizer has {len(tokenizer)} tokens, the model only {spec.vocab}"
            raise LoadRefused("bad_file", problem)
        wish = Wish(load.context, load.cache_tokens, load.whole)
        free, derived = available_memory(), derived_bytes(spec, gguf)
        residence = load.weights or _residence(load.files)
        budget = Budget(max(0, free - load.reserved), load.cache_type, derived, residence=residence)
        if spec.draft and not draft_fits(spec, sizes, budget, wish):
            spec = replace(spec, draft=())
        tensors = check(spec, gguf, types)
        sizes = _sizes(tensors)
        largest = place(spec, sizes, budget, wish)  # what is sure to be too large ends here
        step = load.step_tokens or STEP_TOKENS
        step = step if spec.generates else max(step, largest.context)
        executor = CpuExecutor(machine, spec, gguf, tensors, largest.residence, step, progress)
    budget = replace(budget, scratch=executor.scratch_bytes, residence=largest.residence)
    placement = place(spec, sizes, budget, wish)
    executor.open_cache(placement.pages, load.cache_type)
    model = OpenModel(
        spec=spec,
        sizes=sizes,
        tokenizer=tokenizer,
        executor=executor,
        context=placement.context,
        pages=placement.pages,
        step_tokens=step,
        parallel=load.parallel,
        answer_tokens=load.answer_tokens,
        drafting=load.drafting,
        lookup=load.lookup,
    )
    return model, _loaded(load, spec, placement, sizes)


def _sizes(tensors: Sequence[Tensor]) -> dict[str, int]:
    return {tensor.name: tensor.nbytes for tensor in tensors}


def _residence(files: Sequence[str]) -> Residence:
    """Mapping costs nothing, but is slow to read from where the kernel does not map files in huge pages."""
    return "mapped" if all(map(_core.maps_huge, files)) else "read"


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
    passing = routed_experts(spec) if placement.residence == "streamed" else frozenset()
    mapped = sum(size for name, size in sizes.items() if name not in passing)
    return Loaded(
        architecture=spec.architecture,
        context=placement.context,
        memory=placement.bytes,
        gpu_memory=0,
        placement=placement.rows,
        mapped=0 if placement.residence == "read" else mapped,
        cache_type=load.cache_type,
    )
