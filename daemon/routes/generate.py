"""POST /api/generate: the answer to one prompt, or with an empty one the loading and unloading of a model."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.bodies import body_of
from ktd.daemon.chat.admission import require_answers
from ktd.daemon.chat.chat import Chat, Piece
from ktd.daemon.chat.ending import Ending
from ktd.daemon.chat.whole import whole
from ktd.daemon.errors import ModelMissing
from ktd.daemon.routes.find import present
from ktd.daemon.streams import Form, ndjson, stream
from ktd.daemon.wire import from_ollama, ollama, to_ollama
from ktd.daemon.wire.decode import decode


async def generate(request: web.Request) -> web.StreamResponse:
    body = decode(body_of(request), ollama.GenerateRequest)
    from_ollama.refuse_broken(body)
    if not body.model:
        raise ModelMissing("model '' not found")
    record = await present(request.app, body.model)
    keep_alive = from_ollama.keep_alive(body.keep_alive)
    asks = bool(body.prompt or body.suffix)
    if not asks and keep_alive == 0:
        await request.app[keys.HOST].unload(record)
        return replies.json(to_ollama.generate_state(body.model, "unload"))
    require_answers(record, body.model, "generate")
    from_ollama.refuse_mixed(body)
    from_ollama.refuse_images(body)
    conditions = from_ollama.conditions(body, record)
    if not asks:
        await request.app[keys.ANSWERER].load(record, conditions)
        return replies.json(to_ollama.generate_state(body.model, "load"))
    ask = from_ollama.prompt(body, record.system)
    if isinstance(ask, Chat):
        ask = request.app[keys.ADMISSION].admit(record, ask, body.model)
    answerer = request.app[keys.ANSWERER]
    if body.debug_render_only:
        return replies.json(to_ollama.generate_debug(body.model, await answerer.rendered(record, ask, conditions)))
    answer = answerer.answer(record, ask, conditions)
    if body.stream:
        return await stream(request, _lines(body.model, body.raw, answer), _form(body.model))
    piece, ending = await whole(answer)
    return replies.json(to_ollama.generate_end(body.model, ending, body.raw, piece))


def _form(model: str) -> Form:
    return ndjson(replies.ollama_error, lambda: to_ollama.generate_line(model, to_ollama.NOTHING))


async def _lines(
    model: str, raw: bool, answer: AsyncGenerator[Piece | Ending, None]
) -> AsyncGenerator[ollama.GenerateAnswer, None]:
    async with aclosing(answer):
        async for item in answer:
            if isinstance(item, Ending):
                yield to_ollama.generate_end(model, item, raw)
            else:
                yield to_ollama.generate_line(model, item)
