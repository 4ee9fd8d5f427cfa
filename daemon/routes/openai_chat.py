"""POST /v1/chat/completions."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.bodies import body_of
from ktd.daemon.chat.chat import Piece
from ktd.daemon.chat.ending import Ending
from ktd.daemon.chat.options import several, terms
from ktd.daemon.chat.together import together
from ktd.daemon.chat.whole import wholes
from ktd.daemon.errors import BadRequest
from ktd.daemon.routes.find import present
from ktd.daemon.streams import events, stream
from ktd.daemon.wire import from_openai, openai
from ktd.daemon.wire.decode import decode
from ktd.daemon.wire.to_openai import Reply

FORM = events(replies.openai_error)


async def completions(request: web.Request) -> web.StreamResponse:
    body = decode(body_of(request), openai.ChatRequest)
    if not body.model:
        raise BadRequest("model is required")
    count = from_openai.choices(body)
    record = await present(request.app, body.model)
    ask = from_openai.chat(body, record.system, record.messages)
    ask = request.app[keys.ADMISSION].admit(record, ask, body.model)
    conditions = terms(
        from_openai.USUAL,
        record.parameters,
        from_openai.options(body, body.max_completion_tokens),
        logprobs=from_openai.logprobs(body),
        logit_bias=from_openai.logit_bias(body.logit_bias),
        schema=from_openai.schema(body.response_format),
    )
    answerer = request.app[keys.ANSWERER]
    answers = [answerer.answer(record, ask, each) for each in several(conditions, count)]
    reply = Reply(body.model)
    if body.stream:
        return await stream(request, _chunks(reply, together(answers), body.stream_options.include_usage), FORM)
    return replies.json(reply.completion(await wholes(answers)))


async def _chunks(
    reply: Reply, items: AsyncGenerator[tuple[int, Piece | Ending], None], usage: bool
) -> AsyncGenerator[openai.Chunk, None]:
    opened, endings = set[int](), list[Ending]()
    async with aclosing(items):
        async for index, item in items:
            if index not in opened:
                opened.add(index)
                yield reply.opening(index)
            if isinstance(item, Ending):
                endings.append(item)
                yield reply.closing(index, item)
            else:
                yield reply.chunk(index, item)
    if usage:
        yield reply.usage(endings)
