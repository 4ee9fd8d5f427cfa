"""The engine worker: one process, one model. `python -P -m ktd.engine.worker FD`.

The main thread owns the socket, the engine thread owns the model. An idle worker waits in the kernel. When
the socket ends, so does the process, whatever it is doing: a worker never outlives its daemon.
"""

import asyncio
import contextlib
import ctypes
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence

import msgspec

from ktd.engine.channel import Channel
from ktd.engine.errors import LoadRefused
from ktd.engine.frames import encode
from ktd.engine.jobs import Jobs
from ktd.engine.loader import open_model
from ktd.engine.messages import (
    Cancel,
    Detokenize,
    Embed,
    FromWorker,
    Job,
    Load,
    LoadProgress,
    Refused,
    Tokenize,
    ToWorker,
)

Request = Job | Cancel | Tokenize | Detokenize | Embed

_PR_SET_PDEATHSIG = 1
_TO_WORKER: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)


class Engine(threading.Thread):
    """Loads the model, then steps its jobs for ever."""

    def __init__(self, load: Load, link: "Link") -> None:
        super().__init__(name="engine", daemon=True)
        self._load = load
        self._link = link
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()

    def post(self, request: Request) -> None:
        self._requests.put(request)

    def run(self) -> None:
        try:
            self._serve(self._open())
        except LoadRefused as error:
            self._link.send_last(Refused(error.kind, str(error), error.short))
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def _open(self) -> Jobs:
        model, loaded = open_model(self._load, lambda done, total: self._link.send(LoadProgress(done, total)))
        self._link.send(loaded)
        return Jobs(model)

    def _serve(self, jobs: Jobs) -> None:
        while True:
            self._take_requests(jobs)
            self._link.send(*jobs.step())

    def _take_requests(self, jobs: Jobs) -> None:
        """Everything that was asked; waits only when there is nothing to do."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._link.send(*_begun(jobs, self._requests.get(block=jobs.idle)))


def _begun(jobs: Jobs, request: Request) -> Sequence[FromWorker]:
    """What can be said of a request at once."""
    match request:
        case Job():
            return jobs.add(request)
        case Cancel():
            return jobs.cancel(request.id)
        case Tokenize():
            return [jobs.tokenize(request)]
        case Detokenize():
            return [jobs.detokenize(request)]
        case Embed():
            return jobs.embed(request)


class Link:
    """The socket to the daemon: the first record is what to load, all others are requests. Any thread may send."""

    def __init__(self) -> None:
        self._channel = Channel(_TO_WORKER, self._take, self._ended)
        self._loop = asyncio.get_running_loop()
        self._engine: Engine | None = None

    async def open(self, end: socket.socket) -> None:
        await self._channel.open(end)

    def send(self, *records: FromWorker) -> None:
        if records:
            self._loop.call_soon_threadsafe(self._channel.write, b"".join(map(encode, records)))

    def send_last(self, record: FromWorker) -> None:
        """Send, then close: the daemon's end of the socket ends the process."""
        self.send(record)
        self._loop.call_soon_threadsafe(self._channel.close)

    def _take(self, record: ToWorker) -> None:
        match record:
            case Load():
                self._engine = Engine(record, self)
                self._engine.start()
            case _ if self._engine is not None:
                self._engine.post(record)

    def _ended(self, error: Exception | None) -> None:
        os._exit(0)  # at once: the engine thread may be deep in a step


async def serve(fd: int) -> None:
    """Serve the daemon on the other end of the socket until it is gone, which ends the process."""
    await Link().open(socket.socket(fileno=fd))
    await asyncio.Event().wait()


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    asyncio.run(serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
