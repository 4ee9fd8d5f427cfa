"""Answerer: from a chat to its answer, piece by piece. Nothing here knows a dialect."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from msgspec import structs

from ktd.daemon.chat.chat import Ask, Chat, Fill, Piece, Raw, Terms
from ktd.daemon.chat.ending import Ending, Tally
from ktd.daemon.chat.framing import Framings
from ktd.daemon.chat.prompt import Framed, framed
from ktd.daemon.chat.renderer import Renderer
from ktd.daemon.chat.tag_splitter import TagSplitter
from ktd.daemon.chat.truncation import shortened
from ktd.daemon.engine_port import Worker
from ktd.daemon.errors import NotSupported, TemplateFailed
from ktd.daemon.host import ModelHost
from ktd.engine.client import JobFailed
from ktd.engine.messages import Delta, Document, Done, Grammar, Prompt, TokenLogprob
from ktd.registry.record import ModelRecord


class Answerer:
    def __init__(
        self, host: ModelHost, framings: Framings, renderer: Renderer, ended: Callable[[Ending], None]
    ) -> None:
        """`ended` is told of every answer that was not broken off."""
        self._host = host
        self._framings = framings
        self._renderer = renderer
        self._ended = ended

    async def answer(self, record: ModelRecord, ask: Ask, terms: Terms) -> AsyncGenerator[Piece | Ending, None]:
        """The answer as it grows, then Ending. Closing the generator stops the model.

        Raises DaemonError or EngineError.
        """
        tally = Tally(time.monotonic_ns())
        frame = await self._framed(record, ask, terms)  # first, so that a broken template does not cost a load
        async with self._host.lease(record, terms.context, terms.keep_alive) as worker:
            load_ns = tally.now_ns
            async with aclosing(self._pieces(worker, record, ask, frame, terms)) as pieces:
                async for item in pieces:
                    if isinstance(item, Done):
                        ending = tally.ending(item, load_ns)
                        self._ended(ending)
                        yield ending
                    else:
                        piece = _kept(item, ask, tally.called)
                        tally.add(piece)
                        if piece.says:
                            yield piece

    async def rendered(self, record: ModelRecord, ask: Ask, terms: Terms) -> str:
        """The prompt, as it would be asked. Raises DaemonError."""
        return (await self._framed(record, ask, terms)).prompt.text

    async def count(self, record: ModelRecord, ask: Ask, terms: Terms) -> int:
        """Tokens that would be read. Raises DaemonError or EngineError."""
        frame = await self._framed(record, ask, terms)
        async with self._host.lease(record, terms.context, terms.keep_alive) as worker:
            return len(await worker.tokenize(frame.prompt))

    async def load(self, record: ModelRecord, terms: Terms) -> None:
        """Have the model ready, and start its keep-alive time anew."""
        async with self._host.lease(record, terms.context, terms.keep_alive):
            pass

    async def _pieces(
        self, worker: Worker, record: ModelRecord, ask: Ask, frame: Framed, terms: Terms
    ) -> AsyncGenerator[Piece | Done, None]:
        """The answer; to a shorter chat when this one is too long and may be truncated."""
        try:
            async with aclosing(_pieces(worker, frame, terms)) as pieces:
                async for item in pieces:
                    yield item
            return
        except JobFailed as error:
            if error.kind != "prompt_too_long" or not isinstance(ask, Chat) or not ask.truncate:
                raise
            shorter = await shortened(ask, partial(self._fits, worker, record, terms))
            if shorter is None:
                raise
        frame = await self._framed(record, shorter, terms)
        async with aclosing(_pieces(worker, frame, terms)) as pieces:
            async for item in pieces:
                yield item

    async def _fits(self, worker: Worker, record: ModelRecord, terms: Terms, chat: Chat) -> bool:
        try:
            frame = await self._framed(record, chat, terms)
            return len(await worker.tokenize(frame.prompt)) < worker.loaded.context
        except TemplateFailed:  # it does not read without what was left out
            return False
        except JobFailed as error:
            if error.kind != "prompt_too_long":
                raise
            return False

    async def _framed(self, record: ModelRecord, ask: Ask, terms: Terms) -> Framed:
        match ask:
            case Raw():
                grammar = None if terms.schema is None else Grammar((Document(terms.schema),))
                return _plain(Prompt(ask.text, terms.stops, before=ask.before, grammar=grammar))
            case Fill():
                gap = (await self._framings.of(record)).gap
                if gap is None:
                    raise NotSupported(f"{record.name} does not support insert")
                return _plain(Prompt(gap.prefix + ask.prefix + gap.suffix + ask.suffix + gap.middle, terms.stops))
        framing = await self._framings.of(record)
        if ask.template is not None:
            framing = replace(framing, template=ask.template)
        return await framed(ask, framing, terms, self._renderer)


def _kept(piece: Piece, ask: Ask, called: bool) -> Piece:
    """The piece without the calls that are too many."""
    if not piece.calls or not isinstance(ask, Chat) or not ask.one_call:
        return piece
    return structs.replace(piece, calls=() if called else piece.calls[:1])


def _plain(prompt: Prompt) -> Framed:
    """For prompts that bring no tags."""
    return Framed(prompt, TagSplitter())


async def _pieces(worker: Worker, frame: Framed, terms: Terms) -> AsyncGenerator[Piece | Done, None]:
    tokens, logprobs = 0, tuple[TokenLogprob, ...]()  # of text that the splitter still holds back
    async with aclosing(worker.generate(frame.prompt, terms.sampling)) as stream:
        async for item in stream:
            if isinstance(item, Delta):
                tokens += item.tokens
                logprobs += item.logprobs
                pieces = frame.splitter.feed(item.text)
            else:
                pieces = frame.splitter.finish()
            for piece in pieces:
                yield structs.replace(piece, tokens=tokens, logprobs=logprobs)
                tokens, logprobs = 0, ()
            if isinstance(item, Done):
                if logprobs:
                    yield Piece(tokens=tokens, logprobs=logprobs)
                yield item
