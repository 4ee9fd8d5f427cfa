"""POST /v1/messages and /v1/messages/count_tokens, as Anthropic's clients call them.

A chat that is too long is refused and not truncated: these clients shorten it themselves when they are told.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.bodies import body_of
from ktd.daemon.chat.chat import Chat, Piece
from ktd.daemon.chat.ending import Ending
from ktd.daemon.chat.options import terms
from ktd.daemon.chat.whole import whole
from ktd.daemon.errors import BadRequest
from ktd.daemon.routes.find import present
from ktd.daemon.streams import Event, named_events, stream
from ktd.daemon.wire import anthropic, from_anthropic, from_openai, to_anthropic
from ktd.daemon.wire.decode import decode
from ktd.registry.record import ModelRecord


async def messages(request: web.Request) -> web.StreamResponse:
    body = decode(body_of(request), anthropic.Request)
    options = from_anthropic.options(body)
    record, ask = await _asked(request.app, body)
    schema = from_anthropic.schema(body.output_config)
    conditions = terms(from_openai.USUAL, record.parameters, options, schema=schema)
    answer = request.app[keys.ANSWERER].answer(record, ask, conditions)
    if body.stream:
        reply = to_anthropic.Events(body.model)
        return await stream(request, _events(reply, answer), named_events(replies.anthropic_error, reply.pulse))
    return replies.json(to_anthropic.message(body.model, *await whole(answer)))


async def count(request: web.Request) -> web.Response:
    body = decode(body_of(request), anthropic.CountRequest)
    record, ask = await _asked(request.app, body)
    tokens = await request.app[keys.ANSWERER].count(record, ask, terms(record.parameters))
    return replies.json(anthropic.TokenCount(tokens))


async def _asked(app: web.Application, body: anthropic.CountRequest) -> tuple[ModelRecord, Chat]:
    if not body.model:
        raise BadRequest("model is required")
    record = await present(app, body.model)
    ask = from_anthropic.chat(body, record.system, record.messages, "thinking" in record.capabilities)
    return record, app[keys.ADMISSION].admit(record, ask, body.model)


async def _events(
    reply: to_anthropic.Events, answer: AsyncGenerator[Piece | Ending, None]
) -> AsyncGenerator[Event, None]:
    async with aclosing(answer):
        async for item in answer:
            for event in reply.opening():
                yield event
            for event in reply.closing(item) if isinstance(item, Ending) else reply.of(item):
                yield event
