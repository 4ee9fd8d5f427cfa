"""POST /api/chat: a conversation, or with no messages the loading and unloading of a model."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.bodies import body_of
from ktd.daemon.chat.admission import require_answers
from ktd.daemon.chat.chat import Piece
from ktd.daemon.chat.ending import Ending
from ktd.daemon.chat.whole import whole
from ktd.daemon.errors import BadRequest
from ktd.daemon.routes.find import present
from ktd.daemon.streams import Form, ndjson, stream
from ktd.daemon.wire import from_ollama, ollama, to_ollama
from ktd.daemon.wire.decode import decode


async def chat(request: web.Request) -> web.StreamResponse:
    body = decode(body_of(request), ollama.ChatRequest)
    from_ollama.refuse_broken(body)
    if not body.model:
        raise BadRequest("model is required")
    record = await present(request.app, body.model)
    keep_alive = from_ollama.keep_alive(body.keep_alive)
    if not body.messages and keep_alive == 0:
        await request.app[keys.HOST].unload(record)
        return replies.json(to_ollama.chat_state(body.model, "unload"))
    require_answers(record, body.model, "chat")
    conditions = from_ollama.conditions(body, record)
    if not body.messages:
        await request.app[keys.ANSWERER].load(record, conditions)
        return replies.json(to_ollama.chat_state(body.model, "load"))
    from_ollama.refuse_images(body)
    ask = from_ollama.chat(body, record.system, record.messages)
    ask = request.app[keys.ADMISSION].admit(record, ask, body.model)
    answerer = request.app[keys.ANSWERER]
    if body.debug_render_only:
        return replies.json(to_ollama.chat_debug(body.model, await answerer.rendered(record, ask, conditions)))
    answer = answerer.answer(record, ask, conditions)
    if body.stream:
        return await stream(request, _lines(body.model, answer), _form(body.model))
    piece, ending = await whole(answer)
    return replies.json(to_ollama.chat_end(body.model, ending, piece))


def _form(model: str) -> Form:
    return ndjson(replies.ollama_error, lambda: to_ollama.chat_line(model, to_ollama.NOTHING))


async def _lines(model: str, answer: AsyncGenerator[Piece | Ending, None]) -> AsyncGenerator[ollama.ChatAnswer, None]:
    async with aclosing(answer):
        async for item in answer:
            if isinstance(item, Ending):
                yield to_ollama.chat_end(model, item)
            else:
                yield to_ollama.chat_line(model, item)
