"""POST /v1/completions: prompts without a template, and what is missing between a prompt and its suffix."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.bodies import body_of
from ktd.daemon.chat.admission import require_answers
from ktd.daemon.chat.chat import Piece
from ktd.daemon.chat.ending import Ending
from ktd.daemon.chat.options import several, terms
from ktd.daemon.chat.together import together
from ktd.daemon.chat.whole import wholes
from ktd.daemon.errors import BadRequest
from ktd.daemon.routes.find import present
from ktd.daemon.streams import events, stream
from ktd.daemon.wire import completions as wire
from ktd.daemon.wire import from_openai
from ktd.daemon.wire.decode import decode
from ktd.daemon.wire.to_completions import Reply

FORM = events(replies.openai_error)


async def complete(request: web.Request) -> web.StreamResponse:
    body = decode(body_of(request), wire.Request)
    if not body.model:
        raise BadRequest("model is required")
    asks = [ask for ask in wire.asks(body) for _ in range(body.n)]
    record = await present(request.app, body.model)
    require_answers(record, body.model, "generate")
    conditions = terms(
        from_openai.USUAL,
        record.parameters,
        from_openai.options(body),
        logprobs=wire.logprobs(body),
        logit_bias=from_openai.logit_bias(body.logit_bias),
    )
    answerer, each = request.app[keys.ANSWERER], several(conditions, body.n)
    answers = [answerer.answer(record, ask, each[index % body.n]) for index, ask in enumerate(asks)]
    reply = Reply(body, asks)
    if body.stream:
        return await stream(request, _parts(reply, together(answers), body.stream_options.include_usage), FORM)
    return replies.json(reply.completion(await wholes(answers)))


async def _parts(
    reply: Reply, items: AsyncGenerator[tuple[int, Piece | Ending], None], usage: bool
) -> AsyncGenerator[wire.Completion, None]:
    endings, begun = dict[int, Ending](), set[int]()
    async with aclosing(items):
        async for index, item in items:
            if index not in begun and (echo := reply.opening(index)):
                yield echo
            begun.add(index)
            if isinstance(item, Ending):
                endings[index] = item
                yield reply.end(index, item)
            else:
                yield reply.part(index, item)
    if usage:
        yield reply.usage([endings[index] for index in sorted(endings)])
