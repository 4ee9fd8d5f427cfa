"""POST /v1/completions: prompts without a template, and what is missing between a prompt and its suffix."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.chat.answer import Ending
from ktd.daemon.chat.chat import Ask, Piece
from ktd.daemon.chat.options import terms
from ktd.daemon.chat.together import together
from ktd.daemon.errors import BadRequest
from ktd.daemon.routes.find import present
from ktd.daemon.streams import events, stream
from ktd.daemon.wire import completions as wire
from ktd.daemon.wire import from_openai
from ktd.daemon.wire.decode import decode
from ktd.daemon.wire.to_openai import finish_reason

FORM = events(replies.openai_error)

Items = AsyncGenerator[tuple[int, Piece | Ending], None]


async def complete(request: web.Request) -> web.StreamResponse:
    body = decode(await request.read(), wire.Request)
    if not body.model:
        raise BadRequest("model is required")
    wire.refuse_unsupported(body)
    asks = wire.asks(body)
    record = await present(request.app, body.model)
    conditions = terms(from_openai.USUAL, record.parameters, wire.options(body))
    answerer = request.app[keys.ANSWERER]
    items = together([answerer.answer(record, ask, conditions) for ask in asks])
    if body.stream:
        return await stream(request, _parts(body, asks, items), FORM)
    return replies.json(await _whole(body, asks, items))


async def _whole(body: wire.Request, asks: Sequence[Ask], items: Items) -> wire.Completion:
    choices = [wire.Choice(wire.echo(ask) if body.echo else "", index) for index, ask in enumerate(asks)]
    endings = []
    async with aclosing(items):
        async for index, item in items:
            if isinstance(item, Ending):
                choices[index].finish_reason = finish_reason(item)
                endings.append(item)
            else:
                choices[index].text += item.content
    return wire.Reply(body).completion(choices, endings)


async def _parts(body: wire.Request, asks: Sequence[Ask], items: Items) -> AsyncGenerator[wire.Completion, None]:
    reply, endings, begun = wire.Reply(body), [], set[int]()
    async with aclosing(items):
        async for index, item in items:
            if body.echo and index not in begun:
                begun.add(index)
                yield reply.part(wire.Choice(wire.echo(asks[index]), index))
            if isinstance(item, Ending):
                endings.append(item)
                yield reply.end(index, item)
            else:
                yield reply.part(wire.Choice(item.content, index))
    if body.stream_options.include_usage:
        yield reply.completion([], endings)
