"""From a Load request to a model that is ready: checked first, then placed, then read into memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ktd.engine import _core
from ktd.engine.check import check
from ktd.engine.errors import LoadRefused
from ktd.engine.executor import CpuExecutor, Executor, Progress, derived_bytes
from ktd.engine.gguf import Gguf, GGUFError
from ktd.engine.memory import available_memory
from ktd.engine.messages import Load, Loaded, Residence
from ktd.engine.models import spec_for
from ktd.engine.placement import Budget, Placement, place
from ktd.engine.spec import ModelSpec
from ktd.engine.tokenizer import Tokenizer

CACHE_VALUE_BYTES = {"f16": 2, "f32": 4}


@dataclass(frozen=True, slots=True)
class OpenModel:
    """What a worker answers with."""

    spec: ModelSpec
    sizes: Mapping[str, int]  # bytes of each tensor, by name
    tokenizer: Tokenizer
    executor: Executor
    context: int  # longest prompt plus answer, in tokens
    pages: int  # of the executor's cache


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
        spec = spec_for(gguf)
        tensors = check(spec, gguf, {number for number, *_ in _core.tensor_types()})
        tokenizer = Tokenizer.from_metadata(gguf.metadata)
        if len(tokenizer) > spec.vocab:
            problem = f"the tokenizer has {len(tokenizer)} tokens, the model only {spec.vocab}"
            raise LoadRefused("bad_file", problem)
        sizes = {tensor.name: tensor.nbytes for tensor in tensors}
        free, value, derived = available_memory(), CACHE_VALUE_BYTES[load.cache_type], derived_bytes(spec, gguf)
        budget = Budget(free, value, derived, residence=load.weights or _residence(load.files))
        residence = place(spec, sizes, budget, load.context).residence  # what is sure to be too large ends here
        executor = CpuExecutor(machine, spec, gguf, tensors, residence)
    budget = replace(budget, scratch=executor.scratch_bytes, residence=residence)
    placement = place(spec, sizes, budget, load.context)
    executor.populate(progress)
    executor.open_cache(placement.pages, load.cache_type)
    model = OpenModel(spec, sizes, tokenizer, executor, placement.context, placement.pages)
    return model, _loaded(spec.architecture, placement)


def _residence(files: Sequence[str]) -> Residence:
    """Mapping costs nothing, but is slow to read from where the kernel does not map files in huge pages."""
    return "mapped" if all(map(_core.maps_huge, files)) else "read"


def _machine(load: Load) -> _core.Machine:
    """The cores that compute; refused here is what was asked for and cannot be."""
    if load.context is not None and load.context < 1:
        raise LoadRefused("bad_option", f"a context of {load.context} tokens is impossible")
    if load.threads is not None and load.threads < 1:
        raise LoadRefused("bad_option", f"{load.threads} threads cannot compute anything")
    try:
        return _core.Machine(load.threads or 0)
    except (_core.EngineError, TypeError) as error:
        raise LoadRefused("bad_option", str(error)) from error


def _loaded(architecture: str, placement: Placement) -> Loaded:
    return Loaded(
        architecture=architecture,
        context=placement.context,
        memory=placement.bytes,
        gpu_memory=0,
        placement=placement.rows,
    )
