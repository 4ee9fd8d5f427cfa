"""EngineClient: the daemon's side of an engine worker.

One worker process holds one loaded model; many jobs share its socket. Light to import: no numpy.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

import msgspec

from ktd.engine.channel import Channel
from ktd.engine.errors import EngineError, JobFailed, LoadRefused, WorkerDied
from ktd.engine.frames import HEADER, FrameError, encode
from ktd.engine.graphics import graphics_cards
from ktd.engine.inbox import Inbox
from ktd.engine.memory import available_memory
from ktd.engine.messages import (
    Cancel,
    Delta,
    Detokenize,
    Done,
    Embed,
    Embeddings,
    Failed,
    FromWorker,
    Job,
    Load,
    Loaded,
    LoadProgress,
    Prompt,
    Refused,
    Sampling,
    Text,
    Tokenize,
    Tokens,
)
from ktd.engine.models import SUPPORTED
from ktd.engine.pretokenizers import PRE_TOKENIZERS

__all__ = [
    "ARCHITECTURES",
    "PRETOKENIZERS",
    "EngineClient",
    "EngineError",
    "JobFailed",
    "LoadRefused",
    "WorkerDied",
    "WorkerHandle",
    "available_memory",
    "graphics_cards",
]

# What a worker can load, by GGUF's names: `general.architecture`, and of models with byte pairs `tokenizer.ggml.pre`.
ARCHITECTURES = tuple(SUPPORTED)
PRETOKENIZERS = tuple(PRE_TOKENIZERS)

Request = Job | Tokenize | Detokenize | Embed

MORE = (Delta, LoadProgress, Loaded)  # what is not the last of its request
LOADING = 0  # stands for the id of the load, which has none

OUTPUT_KEPT = 4096  # bytes of a worker's last words
EXIT_WAIT = 5.0  # seconds between the end of a worker's socket and its exit, before it is killed

_log = logging.getLogger(__name__)
_FROM_WORKER: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


class EngineClient:
    """Starts engine workers."""

    async def load(self, load: Load, progress: Callable[[LoadProgress], None] = lambda _: None) -> "WorkerHandle":
        """Start a worker and have it load a model; cancelling ends the worker.

        Raises LoadRefused or WorkerDied.
        """
        worker = WorkerHandle()
        await worker.spawn()
        try:
            await worker.start(load, progress)
        except BaseException:
            await worker.close()
            raise
        return worker


class WorkerHandle:
    """A worker process with a loaded model. `close` it, or it lives until the daemon ends."""

    loaded: Loaded
    _process: asyncio.subprocess.Process
    _end: asyncio.Task[None]

    def __init__(self) -> None:
        self._channel = Channel(_FROM_WORKER, self._take, self._lost)
        self._inboxes: dict[int, Inbox] = {}  # by the ids of requests
        self._last_id = LOADING
        self._death: str | None = None
        self._silent = asyncio.Event()  # nothing more will come

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._death is None

    async def spawn(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            await self._channel.open(ours)
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "ktd.engine.worker", str(theirs.fileno())),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    process_group=0,  # Ctrl-C is for the daemon, which then ends its workers in order
                )
            except BaseException:
                self._channel.close()
                raise
        self._end = asyncio.create_task(self._bury(_Output(self._process)))

    async def start(self, load: Load, progress: Callable[[LoadProgress], None]) -> None:
        inbox = self._inboxes[LOADING] = Inbox()
        self._channel.send(load)
        while records := await inbox.take():
            for record in records:
                match record:
                    case LoadProgress():
                        progress(record)
                    case Refused(kind, message, short):
                        raise LoadRefused(kind, message, short)
                    case Loaded():
                        self.loaded = record
                        del self._inboxes[LOADING]
                        return
        raise WorkerDied(self._death)

    async def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Delta | Done, None]:
        """The answer as it grows, then Done. Closing the generator cancels the job.

        Raises JobFailed or WorkerDied.
        """
        job = Job(self._next_id(), prompt, sampling)
        inbox = self._ask(job)
        try:
            while True:
                for record in await self._read(inbox):
                    match record:
                        case Delta():
                            yield record
                        case Done():
                            yield record
                            return
                        case Failed(_, kind, message):  # after the text that came with it
                            raise JobFailed(kind, message)
        finally:
            self._forget(job.id)

    async def tokenize(self, prompt: Prompt, bos: bool = True) -> tuple[int, ...]:
        """The tokens that a prompt is read as. Raises JobFailed or WorkerDied."""
        record = await self._answer(Tokenize(self._next_id(), prompt, bos))
        assert isinstance(record, Tokens)
        return record.tokens

    async def detokenize(self, tokens: tuple[int, ...]) -> str:
        """The text of tokens, special ones included. Raises JobFailed or WorkerDied."""
        record = await self._answer(Detokenize(self._next_id(), tokens))
        assert isinstance(record, Text)
        return record.text

    async def embed(self, prompts: Iterable[Prompt], truncate: bool = True, context: int | None = None) -> Embeddings:
        """The vectors of texts, pooled and not normalised. Cancelling is felt by the worker.

        Raises JobFailed or WorkerDied.
        """
        record = await self._answer(Embed(self._next_id(), tuple(prompts), truncate, context))
        assert isinstance(record, Embeddings)
        return record

    async def close(self) -> None:
        """End the process, give back its memory, and wait until that is done."""
        if self._death is None:
            self._death = "the model was unloaded"
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.shield(self._end)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _ask(self, request: Request) -> Inbox:
        """Where its answer will come. Raises JobFailed or WorkerDied."""
        if self._death is not None:
            raise WorkerDied(self._death)
        data = _checked(request)
        inbox = self._inboxes[request.id] = Inbox()
        self._channel.write(data)
        return inbox

    async def _read(self, inbox: Inbox) -> Sequence[FromWorker]:
        """What has come since the last time. Raises WorkerDied."""
        records = await inbox.take()
        if not records:
            raise WorkerDied(self._death)
        return records

    async def _answer(self, request: Request) -> FromWorker:
        """What the worker says to a request that it answers with one record. Raises JobFailed or WorkerDied."""
        inbox = self._ask(request)
        try:
            (record,) = await self._read(inbox)
        finally:
            self._forget(request.id)
        if isinstance(record, Failed):
            raise JobFailed(record.kind, record.message)
        return record

    def _forget(self, id: int) -> None:
        """A request that nobody waits for any more; its worker may still be at it."""
        if self._inboxes.pop(id, None) is not None and self.alive:
            self._channel.send(Cancel(id))

    def _take(self, record: FromWorker) -> None:
        id: int = getattr(record, "id", LOADING)
        if (inbox := self._inboxes.get(id)) is not None:
            inbox.put(record)
            if not isinstance(record, MORE):
                del self._inboxes[id]

    def _lost(self, error: Exception | None) -> None:
        if error is not None:
            _log.log(logging.ERROR if isinstance(error, FrameError) else logging.INFO, "an engine worker: %s", error)
        self._silent.set()

    async def _bury(self, output: "_Output") -> None:
        """Wait for the end, and tell all who still wait for an answer how it came."""
        await self._silent.wait()
        try:
            code = await asyncio.wait_for(self._process.wait(), EXIT_WAIT)
        except TimeoutError:
            self._process.kill()
            code = await self._process.wait()
        said = await output.rest()
        if self._death is None:
            self._death = f"the engine worker {_ending(code)}" + (f"; it last wrote: {said}" if said else "")
        for inbox in self._inboxes.values():
            inbox.end()


def _checked(request: Request) -> bytes:
    """Its frame. A record is not checked when it is made, and a bad one must not reach the worker. Raises JobFailed."""
    try:
        data = encode(request)
        msgspec.msgpack.decode(memoryview(data)[HEADER:], type=type(request))
    except (msgspec.ValidationError, UnicodeEncodeError, OverflowError, FrameError) as error:
        raise JobFailed("bad_request", str(error)) from error
    return data


class _Output:
    """What a worker writes to stdout and stderr: logged, and its end kept."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self._stream = process.stdout
        self._pid = process.pid
        self._kept = b""
        self._task = asyncio.create_task(self._read())

    async def rest(self) -> str:
        """The last lines, once the stream has ended."""
        await self._task
        return self._kept.decode(errors="replace").strip()

    async def _read(self) -> None:
        while piece := await self._stream.read(OUTPUT_KEPT):
            _log.info("worker %d: %s", self._pid, piece.decode(errors="replace").rstrip())
            self._kept = (self._kept + piece)[-OUTPUT_KEPT:]


def _ending(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed by SIGKILL (as the kernel does when memory runs out)"
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
