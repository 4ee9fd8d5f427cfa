"""What crosses the socket between the daemon and an engine worker, and nothing else does.

One frame is a little-endian u32 length and a msgpack body: one record of `ToWorker` or `FromWorker`.
Durations are nanoseconds, sizes are bytes.
"""

from typing import Literal

import msgspec

MAX_FRAME = 64 << 20

FinishReason = Literal["stop", "length", "cancelled"]
FailureKind = Literal["prompt_too_long", "bad_request", "engine"]
Residence = Literal["mapped", "read", "streamed"]
CacheType = Literal["f32", "f16", "bf16", "q8_0"]  # of the values that the KV cache keeps
RefusalKind = Literal["bad_file", "unsupported", "out_of_memory", "bad_option", "engine"]


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the next token is chosen.

    `temperature` 0 is greedy; `top_k` 0, `top_p` 1, `min_p` 0 and `typical_p` 1 are off; penalties look at the last
    `repeat_last_n` tokens of prompt and answer, -1 means all; `logit_bias` is pairs of a token and what is added to
    its logit; `seed` None is random; `max_tokens` None is up to the context's end. With `logprobs` n, every Delta
    tells its tokens' log-probabilities, and the n best tokens at each place. With `shift`, an answer goes on at the
    context's end: the oldest half is forgotten, but for the first `keep` tokens.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None
    max_tokens: int | None = None
    logprobs: int | None = None
    shift: bool = False
    keep: int = 4


class Document(msgspec.Struct, frozen=True):
    """JSON that a JSON schema (as text) allows, between two texts."""

    schema: str
    before: str = ""
    after: str = ""


class Grammar(msgspec.Struct, frozen=True):
    """What an answer is kept to: `before`, one of the documents, `after`. It ends when that is whole.

    Where `between` is not None, more documents may follow, that text before each. Special tokens in the texts are
    recognised. A thought may come first, on which nothing is imposed. It ends with `closing`; the special token
    `opening` may begin it, or where there is only a closing text, the prompt has already begun it.
    """

    documents: tuple[Document, ...]
    before: str = ""
    between: str | None = None
    after: str = ""
    opening: str = ""
    closing: str = ""


class Thought(msgspec.Struct, frozen=True):
    """How many tokens a thought may have: then `ending` is written in the model's stead.

    It lasts until `closing`. `opening` begins it; where that is empty, the prompt has already begun it.
    """

    tokens: int
    closing: str
    ending: str
    opening: str = ""


class Prompt(msgspec.Struct, frozen=True):
    """A rendered prompt. Special tokens in `text` are recognised; BOS is added where the model wants it.

    `stops` end the answer and are not part of it. `markers` are special tokens whose text is wanted in the
    answer (tool and thinking tags); all other special tokens are dropped from it. `before` are tokens that come
    before the text; then no BOS is added.
    """

    text: str
    stops: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    before: tuple[int, ...] = ()
    grammar: Grammar | None = None
    thought: Thought | None = None


DRAFTING = 1  # with more answers, a step that checks guesses reads more experts than it saves time


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Open these GGUF shards (in order) and make them ready. None means: choose.

    Weights are mapped from the files or read into memory; streamed ones stay on disk but for what memory can hold.
    `context` and `cache_tokens` count tokens of one request and of all together, `answer_tokens` those of one answer;
    `step_tokens` and `parallel` are the most tokens and requests of one step. `reserved` bytes of memory are not free,
    though the system says so: other models' weights, which only its file cache holds. `whole`: refuse rather than
    choose a shorter context, or leave experts on disk, for want of memory. `drafting`: a model's own NextN block
    guesses tokens while it gives at most so many answers at once; 0: never. `lookup`: then it guesses so many tokens
    where a text repeats itself.

    `devices`: cpu, cuda:0, cuda:1, .. or several of these with commas between, or auto for all GPUs that there are;
    `gpu_experts` of a MoE model go there too: auto, a number of layers, or a size as 20GB; `rules` is the text of a
    YAML file that says more (see engine/rules.py).
    """

    files: tuple[str, ...]
    context: int | None = None
    threads: int | None = None
    cache_type: CacheType = "f16"
    weights: Residence | None = None
    cache_tokens: int | None = None
    step_tokens: int | None = None
    parallel: int | None = None
    answer_tokens: int | None = None
    reserved: int = 0
    whole: bool = False
    drafting: int = DRAFTING
    lookup: int = 0
    devices: str = "cpu"
    gpu_experts: str = "auto"
    rules: str = ""


class Job(msgspec.Struct, frozen=True, tag="job"):
    id: int
    prompt: Prompt
    sampling: Sampling


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    id: int


class Tokenize(msgspec.Struct, frozen=True, tag="tokenize"):
    """Which tokens a prompt is read as; `bos` False leaves out the one that the model wants first."""

    id: int
    prompt: Prompt
    bos: bool = True


class Detokenize(msgspec.Struct, frozen=True, tag="detokenize"):
    id: int
    tokens: tuple[int, ...]


class Embed(msgspec.Struct, frozen=True, tag="embed"):
    """The vectors of texts. What is longer than the context loses its end if `truncate`, else the request fails.

    `context` is in tokens; None means the worker's, and more is no more than that.
    """

    id: int
    prompts: tuple[Prompt, ...]
    truncate: bool = True
    context: int | None = None


class LoadProgress(msgspec.Struct, frozen=True, tag="progress"):
    done: int
    total: int


class PlacementRow(msgspec.Struct, frozen=True):
    """One line of the placement table: what went where, how large it is, and why."""

    part: str
    device: str
    bytes: int
    reason: str


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The worker is ready. `context` is the longest prompt plus answer it accepts, in tokens.

    `memory` is all that it holds, `mapped` the part of it that lies in the system's file cache.
    """

    architecture: str
    context: int
    memory: int
    gpu_memory: int
    placement: tuple[PlacementRow, ...]
    mapped: int = 0
    cache_type: CacheType = "f16"


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The model was not loaded; the message says what was wrong, with the figures."""

    kind: RefusalKind
    message: str
    short: int = 0  # bytes of memory that were missing


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """The bytes of a token and its log-softmax over the raw logits: what the model itself thought, before penalties,
    temperature, cuts and constraints. So do Ollama, llama-server and vLLM: figures of different requests compare.

    `top` [Sampling.logprobs] is the best tokens at its place, best first.
    """

    piece: bytes
    logprob: float
    top: tuple["TokenLogprob", ...] = ()


class Delta(msgspec.Struct, frozen=True, tag="delta"):
    """Text that became certain in one step; never half a character, never part of a stop string.

    `logprobs` is of the tokens since the last Delta, where asked for, the token that ends the answer left out; then
    the last Delta may have no text.
    """

    id: int
    text: str
    tokens: int
    logprobs: tuple[TokenLogprob, ...] = ()


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The end of a job. `prompt_tokens` counts cached ones too; `context` is the ids of prompt and answer.

    `stop` is the stop string that ended it, where one did. `guessed` tokens were computed before they were chosen,
    `right` of them were then chosen.
    """

    id: int
    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    prompt_ns: int
    output_ns: int
    context: tuple[int, ...] = ()
    stop: str | None = None
    guessed: int = 0
    right: int = 0


class Tokens(msgspec.Struct, frozen=True, tag="tokens"):
    id: int
    tokens: tuple[int, ...]


class Text(msgspec.Struct, frozen=True, tag="text"):
    """The text of tokens, special ones included; what is no whole character is U+FFFD."""

    id: int
    text: str


class Embeddings(msgspec.Struct, frozen=True, tag="embeddings"):
    """`vectors` are [dim] little-endian float32, pooled as the model wants and not normalised; `tokens` counts them.

    Both are in the order of the prompts.
    """

    id: int
    vectors: tuple[bytes, ...]
    tokens: tuple[int, ...]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    id: int
    kind: FailureKind
    message: str


ToWorker = Load | Job | Cancel | Tokenize | Detokenize | Embed
FromWorker = LoadProgress | Loaded | Refused | Delta | Done | Tokens | Text | Embeddings | Failed
