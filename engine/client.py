"""EngineClient: the daemon's side of an engine worker.

One worker process holds one loaded model; many jobs share its socket. Light to import: no numpy.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import TypeVar

import msgspec

from ktd.engine import frames
from ktd.engine.errors import EngineError, JobFailed, LoadRefused, WorkerDied
from ktd.engine.graphics import graphics_cards
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

Reply = Delta | Done | Tokens | Text | Embeddings | Failed
Request = Job | Tokenize | Detokenize | Embed
Asked = TypeVar("Asked", bound=Request)

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
        worker = await _spawn()
        try:
            await worker.start(load, progress)
        except BaseException:
            await worker.close()
            raise
        return worker


class WorkerHandle:
    """A worker process with a loaded model. `close` it, or it lives until the daemon ends."""

    loaded: Loaded

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._output = _Output(process)
        self._receiver: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Queue[Reply | None]] = {}
        self._last_id = 0
        self._death: str | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._death is None

    async def start(self, load: Load, progress: Callable[[LoadProgress], None]) -> None:
        await self._send(load)
        while True:
            match await self._next():
                case LoadProgress() as step:
                    progress(step)
                case Refused(kind, message, short):
                    raise LoadRefused(kind, message, short)
                case Loaded() as loaded:
                    self.loaded = loaded
                    self._receiver = asyncio.create_task(self._receive())
                    return
                case _:
                    raise WorkerDied(await self._end())

    async def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Delta | Done, None]:
        """The answer as it grows, then Done. Closing the generator cancels the job.

        Raises JobFailed or WorkerDied.
        """
        job = Job(self._next_id(), prompt, sampling)
        try:
            async with aclosing(self._replies(job)) as replies:
                async for record in replies:
                    if isinstance(record, Delta | Done):
                        yield record
        finally:
            self._forget(job.id)

    async def tokenize(self, prompt: Prompt, bos: bool = True) -> tuple[int, ...]:
        """The tokens that a prompt is read as. Raises JobFailed or WorkerDied."""
        async with aclosing(self._replies(Tokenize(self._next_id(), prompt, bos))) as replies:
            record = await anext(replies)
        assert isinstance(record, Tokens)
        return record.tokens

    async def detokenize(self, tokens: tuple[int, ...]) -> str:
        """The text of tokens, special ones included. Raises JobFailed or WorkerDied."""
        async with aclosing(self._replies(Detokenize(self._next_id(), tokens))) as replies:
            record = await anext(replies)
        assert isinstance(record, Text)
        return record.text

    async def embed(self, prompts: Iterable[Prompt], truncate: bool = True, context: int | None = None) -> Embeddings:
        """The vectors of texts, pooled and not normalised. Cancelling is felt by the worker.

        Raises JobFailed or WorkerDied.
        """
        request = Embed(self._next_id(), tuple(prompts), truncate, context)
        try:
            async with aclosing(self._replies(request)) as replies:
                record = await anext(replies)
        finally:
            self._forget(request.id)
        assert isinstance(record, Embeddings)
        return record

    async def close(self) -> None:
        """End the process, give back its memory, and wait until that is done."""
        if self._death is None:
            self._death = "the model was unloaded"
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        if self._receiver is None:
            await self._end()
        else:
            await self._receiver

    def _forget(self, id: int) -> None:
        """A request that nobody waits for any more; its worker may still be at it."""
        if self._asked.pop(id, None) is not None and self.alive:
            self._writer.write(frames.encode(Cancel(id)))

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def _replies(self, request: Request) -> AsyncGenerator[Reply, None]:
        """What the worker says to one request. Raises JobFailed or WorkerDied."""
        if self._death is not None:
            raise WorkerDied(self._death)
        checked = _checked(request)
        records = self._asked[request.id] = asyncio.Queue()
        await self._send(checked)
        while (record := await records.get()) is not None:
            if isinstance(record, Failed):
                raise JobFailed(record.kind, record.message)
            yield record
            if not isinstance(record, Delta):
                return
        raise WorkerDied(self._death)

    async def _send(self, record: Load | Request) -> None:
        try:
            self._writer.write(frames.encode(record))
            await self._writer.drain()
        except frames.FrameError as error:
            raise JobFailed("bad_request", str(error)) from error
        except OSError:
            pass  # the worker is gone: the receiver learns it too, and says more

    async def _receive(self) -> None:
        """Hand every record to its job until the worker ends, then tell all jobs."""
        while isinstance(record := await self._next(), Reply):
            if (queue := self._asked.get(record.id)) is not None:
                queue.put_nowait(record)
                if not isinstance(record, Delta):
                    del self._asked[record.id]
        await self._end()
        for queue in self._asked.values():
            queue.put_nowait(None)

    async def _next(self) -> FromWorker | None:
        try:
            return await frames.read(self._reader, _FROM_WORKER)
        except frames.FrameError as error:
            _log.error("worker %d: %s", self.pid, error)
        except OSError as error:
            _log.info("worker %d: %s", self.pid, error)
        return None

    async def _end(self) -> str:
        """Wait for the process to end, and say how it did."""
        self._writer.close()
        try:
            code = await asyncio.wait_for(self._process.wait(), EXIT_WAIT)
        except TimeoutError:
            self._process.kill()
            code = await self._process.wait()
        output = await self._output.rest()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        if self._death is None:
            self._death = f"the engine worker {_ending(code)}" + (f"; it last wrote: {output}" if output else "")
        return self._death


def _checked(request: Asked) -> Asked:
    """A record is not checked when it is made, and a bad one must not reach the worker. Raises JobFailed."""
    try:
        return msgspec.msgpack.decode(msgspec.msgpack.encode(request), type=type(request))
    except (msgspec.ValidationError, UnicodeEncodeError, OverflowError) as error:
        raise JobFailed("bad_request", str(error)) from error


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


async def _spawn() -> WorkerHandle:
    ours, theirs = socket.socketpair()
    with theirs:
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "ktd.engine.worker", str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                process_group=0,  # Ctrl-C is for the daemon, which then ends its workers in order
            )
        except BaseException:
            writer.close()
            raise
    return WorkerHandle(process, reader, writer)


def _ending(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed by SIGKILL (as the kernel does when memory runs out)"
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
