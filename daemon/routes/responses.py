"""POST /v1/responses: OpenAI's newer dialect, without its memory."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.bodies import body_of
from ktd.daemon.chat.chat import Piece
from ktd.daemon.chat.ending import Ending
from ktd.daemon.chat.options import terms
from ktd.daemon.chat.whole import whole
from ktd.daemon.errors import BadRequest
from ktd.daemon.routes.find import present
from ktd.daemon.streams import Event, named_events, stream
from ktd.daemon.wire import from_openai, from_responses, responses
from ktd.daemon.wire.decode import decode
from ktd.daemon.wire.to_responses import Reply


async def respond(request: web.Request) -> web.StreamResponse:
    body = decode(body_of(request), responses.Request)
    if not body.model:
        raise BadRequest("model is required")
    record = await present(request.app, body.model)
    ask = from_responses.chat(body, record.system, record.messages)
    ask = request.app[keys.ADMISSION].admit(record, ask, body.model)
    conditions = terms(
        from_openai.USUAL,
        record.parameters,
        from_responses.options(body),
        logprobs=from_responses.logprobs(body),
        schema=from_responses.schema(body),
    )
    answer = request.app[keys.ANSWERER].answer(record, ask, conditions)
    reply = Reply(body)
    if body.stream:
        return await stream(request, _events(reply, answer), named_events(reply.failed, reply.pulse))
    piece, ending = await whole(answer)
    for _ in (*reply.of(piece), *reply.closing(ending)):
        pass
    return replies.json(reply.response)


async def _events(reply: Reply, answer: AsyncGenerator[Piece | Ending, None]) -> AsyncGenerator[Event, None]:
    async with aclosing(answer):
        async for item in answer:
            for event in reply.opening():
                yield event
            for event in reply.closing(item) if isinstance(item, Ending) else reply.of(item):
                yield event
