"""The CPU runtime. Arrays are C-contiguous; every call that computes releases the GIL."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ktd.engine.spec import MoeFfn, Stage

class EngineError(RuntimeError): ...

class Machine:
    """Cores, ISA and thread pool. `threads` 0 takes every physical core the process may use, `isa` "" the best ISA.

    KTD_ISA=scalar|avx2|avx512|avx512vbmi overrides the choice; one the CPU lacks is refused.
    """
    def __init__(self, threads: int = 0, isa: str = "") -> None: ...
    @property
    def threads(self) -> int: ...
    @property
    def isa(self) -> str: ...
    def read_bandwidth(self, bytes: int) -> float:
        """Bytes per second that all threads read together from a fresh buffer of this size."""
    def multiplication_peak(self) -> tuple[float, float]:
        """Multiplications per second of all threads together, of floats and of bytes."""

class Weights:
    """GGUF tensors of files that are mapped, or read into memory of their own.

    tensors: (name, file index, offset, GGUF type number, shape).
    """
    def __init__(
        self,
        files: Sequence[str],
        tensors: Sequence[tuple[str, int, int, int, tuple[int, ...]]],
        residence: Literal["mapped", "read"] = "mapped",
    ) -> None: ...
    @property
    def bytes(self) -> int: ...
    def populate(self, machine: Machine, begin: int, length: int) -> None:
        """Bring bytes [begin, begin + length) of the tensors, counted through all of them, into memory.

        Every thread of the machine reads. Raises EngineError naming the file that cannot be read.
        """

def maps_huge(path: str) -> bool:
    """Whether the kernel maps this file in huge pages, which make reading weights up to a quarter faster."""

class Model:
    """Stages bound to weights, with scratch for steps of up to `max_tokens` tokens.

    `streamed`: memory does not hold all experts, so those of a step are asked for from disk as soon as it is routed.
    """
    def __init__(
        self, machine: Machine, weights: Weights, stages: Sequence[Stage], max_tokens: int, streamed: bool = False
    ) -> None: ...
    @property
    def scratch_bytes(self) -> int: ...
    @property
    def derived_bytes(self) -> int: ...
    def forward(
        self,
        cache: KvCache,
        tokens: NDArray[np.int32],
        positions: NDArray[np.int32],
        sequences: NDArray[np.int32],
        pages: NDArray[np.int32],
        rows: NDArray[np.int32],
        kept: NDArray[np.int32],
        given: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits [len(rows), vocab] and states [len(kept), dim]; see engine.batch.Batch for the arguments.

        A model that starts with Combine is given the states [len(tokens), dim] that it continues.
        """

class RoutedExperts:
    """The routed experts of MoeFfn stages whose other parts run elsewhere, for steps of up to `max_tokens` tokens.

    `weights` need hold no others. `streamed` as of Model.
    """
    def __init__(
        self, machine: Machine, weights: Weights, stages: Sequence[MoeFfn], max_tokens: int, streamed: bool = False
    ) -> None: ...
    @property
    def scratch_bytes(self) -> int: ...
    def run(
        self,
        layer: int,
        x: NDArray[np.float32],
        ids: NDArray[np.int32],
        weights: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> None:
        """out [n, dim] = sum over the chosen experts of weight * expert(x), for x [n, dim], ids and weights [n, used].

        `layer` counts the stages given.
        """

class KvCache:
    """Pages of cache rows for every attention stage of a model; `type` is "f32", "f16", "bf16" or "q8_0"."""
    def __init__(self, model: Model, pages: int, page_tokens: int, type: str = "f16") -> None: ...
    def fill(self) -> None:
        """Give every page memory, with numbers that mean nothing: for measurements."""
    @property
    def bytes(self) -> int: ...
    @property
    def pages(self) -> int: ...
    @property
    def page_tokens(self) -> int: ...

class Sampler:
    """Chooses tokens for one request: mask, bias, penalties, top-k, typical-p, top-p, min-p, temperature, draw.

    Temperature 0 is greedy. `bias` is pairs of a token and what is added to its logit.
    """
    def __init__(
        self,
        *,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        typical_p: float = 1.0,
        repeat_penalty: float,
        repeat_last_n: int,
        presence_penalty: float,
        frequency_penalty: float,
        bias: Sequence[tuple[int, float]] = (),
        seed: int,
    ) -> None: ...
    def accept(self, token: int) -> None:
        """Count a token (of the prompt or the answer) for the penalties."""
    def sample(self, logits: NDArray[np.float32], mask: NDArray[np.uint8] | None = None) -> int:
        """The next token of logits [vocab]; not yet accepted.

        mask [bytes] has a bit per token, lowest first: tokens whose bit is 0 or missing cannot be chosen.
        """

def logprobs(logits: NDArray[np.float32], token: int, top: int) -> list[tuple[int, float]]:
    """Log-softmax of the raw logits [vocab]: of `token`, then of the `top` best tokens, best first."""

def tensor_types() -> list[tuple[int, str, int, int]]:
    """(GGUF type number, name, weights per block, bytes per block) of every type the engine knows."""

def dequantize(type: int, blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Weights of whole blocks, by the scalar reference."""

def dot_reference(type: int, blocks: NDArray[np.uint8], x: NDArray[np.float32]) -> float:
    """Scalar dot of one row with an activation, the activation stored as the type's kernels store it."""

def isas() -> list[str]:
    """Every ISA this build has kernels for and this CPU can run, best first."""

class Kernels:
    """The kernels of one ISA, one call each, for tests and measurements. Inputs are never changed."""
    @staticmethod
    def of(isa: str) -> Kernels:
        """The kernels of an ISA of `isas()`; "" takes the best. EngineError for one that cannot run here."""
    @property
    def isa(self) -> str: ...
    def matmul(
        self,
        type: int,
        rows: NDArray[np.uint8],
        x: NDArray[np.float32],
        gather: NDArray[np.int32] | None = None,
        out_stride: int = 0,
    ) -> NDArray[np.float32]:
        """rows [n, bytes] by x [t, k] -> [t, n], or [t, out_stride] with zeros behind each n.

        gather [t] names the row of x that each token reads.
        """
    def quantize_q8(self, x: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]:
        """x [n] as stored activations: integers [n], scales [n / 32], scaled sums [n / 16]."""
    def rms_norm(self, x: NDArray[np.float32], weight: NDArray[np.float32], eps: float) -> NDArray[np.float32]: ...
    def layer_norm(
        self, x: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32], eps: float
    ) -> NDArray[np.float32]: ...
    def silu_mul(self, gate: NDArray[np.float32], up: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def axpy(self, a: float, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        """y + a * x."""
    def store_row(self, type: int, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        """x as a cache row of F32, F16, BF16 or Q8_0."""
    def load_rows(self, type: int, rows: NDArray[np.uint8], begin: int, n: int) -> NDArray[np.float32]:
        """Values [begin, begin + n) of cache rows [r, bytes]."""
    def attend(
        self,
        q: NDArray[np.float32],
        keys: NDArray[np.float32],
        values: NDArray[np.float32],
        begin: NDArray[np.int32],
        end: NDArray[np.int32],
        softcap: float = 0.0,
    ) -> NDArray[np.float32]:
        """softmax(q . keys) . values, for q [r, k], keys [n, k], values [n, v]; row r sees keys [begin[r], end[r])."""
