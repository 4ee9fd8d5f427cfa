"""Embedder: texts to vectors, pooled from the states of their tokens."""

from collections.abc import Sequence as Items

import numpy as np

from ktd.engine.errors import JobFailed
from ktd.engine.executor import Floats
from ktd.engine.messages import MAX_FRAME, Embed, Embeddings, Failed
from ktd.engine.reader import PromptReader
from ktd.engine.scheduler import Chunk, Scheduler, states_by_chunk
from ktd.engine.sequence import Sequence
from ktd.engine.spec import ModelSpec

MOST_BYTES = MAX_FRAME // 2  # of the vectors of one request

Record = Embeddings | Failed


class Embedding:
    """One request: the sums [dim] of the states that count, of each sequence; `unread` are not yet complete."""

    def __init__(self, id: int, sequences: list[Sequence], dim: int) -> None:
        self.id = id
        self.sums = {sequence: np.zeros(dim) for sequence in sequences}
        self.unread = set(sequences)

    def add(self, chunk: Chunk, states: Floats) -> None:
        """`states` [len(chunk.kept), dim] of one of the sequences. One that was put back starts over."""
        if chunk.begin == 0:
            self.sums[chunk.sequence][:] = 0
        self.sums[chunk.sequence] += states.sum(axis=0, dtype=np.float64)
        if chunk.last:
            self.unread.remove(chunk.sequence)

    def vectors(self) -> Embeddings:
        """Means of states; of a single one, that one."""
        means = [
            total / (len(sequence.tokens) if sequence.pooling == "mean" else 1) for sequence, total in self.sums.items()
        ]
        tokens = tuple(len(sequence.tokens) for sequence in self.sums)
        return Embeddings(self.id, tuple(mean.astype("<f4").tobytes() for mean in means), tokens)


class Embedder:
    """The requests for embeddings of a worker. Their texts stand in the scheduler beside the jobs'."""

    def __init__(self, spec: ModelSpec, reader: PromptReader, scheduler: Scheduler) -> None:
        self._spec = spec
        self._reader = reader
        self._scheduler = scheduler
        self._running: dict[int, Embedding] = {}
        self._by_sequence: dict[Sequence, Embedding] = {}

    def add(self, request: Embed) -> list[Record]:
        try:
            sequences = self._sequences(request)
        except JobFailed as error:
            return [Failed(request.id, error.kind, str(error))]
        embedding = Embedding(request.id, sequences, self._spec.dim)
        if not sequences:
            return [embedding.vectors()]
        self._running[request.id] = embedding
        for sequence in sequences:
            self._by_sequence[sequence] = embedding
            self._scheduler.add(sequence)
        return []

    def computed(self, chunks: Items[Chunk], states: Floats) -> list[Record]:
        """Take the states of a step; what is now complete."""
        taken = [chunk for chunk in chunks if chunk.sequence in self._by_sequence]
        for chunk, rows in zip(chunks, states_by_chunk(chunks, states), strict=True):
            if chunk.sequence not in self._by_sequence:
                continue
            self._by_sequence[chunk.sequence].add(chunk, rows)
            if chunk.last:
                self._scheduler.remove(chunk.sequence)
        complete = [embedding for embedding in self._of(taken) if not embedding.unread]
        for embedding in complete:
            self._forget(embedding)
        return [embedding.vectors() for embedding in complete]

    def fail(self, chunks: Items[Chunk], message: str) -> list[Record]:
        """A step was not computed."""
        failed = self._of(chunks)
        for embedding in failed:
            self._forget(embedding)
        return [Failed(embedding.id, "engine", message) for embedding in failed]

    def cancel(self, id: int) -> None:
        if (embedding := self._running.get(id)) is not None:
            self._forget(embedding)

    def _sequences(self, request: Embed) -> list[Sequence]:
        """Raises JobFailed."""
        if request.id in self._running:
            raise JobFailed("bad_request", f"job {request.id} is already running")
        if len(request.prompts) * self._spec.dim * 4 > MOST_BYTES:
            most = MOST_BYTES // (self._spec.dim * 4)
            raise JobFailed("bad_request", f"{len(request.prompts)} texts in one request; at most {most} are possible")
        texts = [self._reader.to_embed(prompt, request.truncate, request.context) for prompt in request.prompts]
        return [
            Sequence(tokens, len(tokens), pooling=self._spec.pooling, whole=not self._spec.generates)
            for tokens in texts
        ]

    def _of(self, chunks: Items[Chunk]) -> list[Embedding]:
        """The requests that chunks belong to, each once."""
        return list(
            dict.fromkeys(self._by_sequence[chunk.sequence] for chunk in chunks if chunk.sequence in self._by_sequence)
        )

    def _forget(self, embedding: Embedding) -> None:
        del self._running[embedding.id]
        for sequence in embedding.sums:
            del self._by_sequence[sequence]
        for sequence in embedding.unread:
            self._scheduler.remove(sequence)
