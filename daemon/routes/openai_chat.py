"""POST /v1/chat/completions."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.chat.answer import Ending, check, whole
from ktd.daemon.chat.chat import Piece
from ktd.daemon.chat.options import terms
from ktd.daemon.errors import BadRequest
from ktd.daemon.routes.find import present
from ktd.daemon.streams import events, stream
from ktd.daemon.wire import from_openai, openai
from ktd.daemon.wire.decode import decode
from ktd.daemon.wire.to_openai import Reply

FORM = events(replies.openai_error)


async def completions(request: web.Request) -> web.StreamResponse:
    body = decode(await request.read(), openai.ChatRequest)
    if not body.model:
        raise BadRequest("model is required")
    from_openai.refuse_unsupported(body)
    record = await present(request.app, body.model)
    ask = from_openai.chat(body, record.system, record.messages)
    check(record, ask, body.model)
    conditions = terms(
        from_openai.USUAL,
        record.parameters,
        from_openai.options(body),
        logprobs=from_openai.logprobs(body),
        logit_bias=from_openai.logit_bias(body.logit_bias),
        schema=from_openai.schema(body.response_format),
    )
    answer = request.app[keys.ANSWERER].answer(record, ask, conditions)
    reply = Reply(body.model)
    if body.stream:
        return await stream(request, _chunks(reply, answer, body.stream_options.include_usage), FORM)
    return replies.json(reply.completion(*await whole(answer)))


async def _chunks(
    reply: Reply, answer: AsyncGenerator[Piece | Ending, None], usage: bool
) -> AsyncGenerator[openai.Chunk, None]:
    opened = False
    async with aclosing(answer):
        async for item in answer:
            if not opened:
                opened = True
                yield reply.opening()
            if isinstance(item, Ending):
                yield reply.closing(item)
                if usage:
                    yield reply.usage(item)
            else:
                yield reply.chunk(item)
