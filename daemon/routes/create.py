"""POST /api/create: a model out of another (pulled when it is not here) or out of uploaded files."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.bodies import body_of
from ktd.daemon.chat.go.render import flaw
from ktd.daemon.chat.options import terms
from ktd.daemon.errors import BadRequest, NotSupported
from ktd.daemon.routes import blobs
from ktd.daemon.routes.pull import FORM, pull_lines
from ktd.daemon.streams import stream
from ktd.daemon.wire import pulls
from ktd.daemon.wire.decode import decode
from ktd.registry.create import Wish, create
from ktd.registry.errors import InvalidName, ModelNotFound
from ktd.registry.modelfile import ROLES, parse
from ktd.registry.names import ModelName
from ktd.registry.news import Said, Step
from ktd.registry.parameters import checked
from ktd.registry.pulls.journal import Request
from ktd.registry.recipes import recipe_named
from ktd.registry.record import Changes

NO_DIGEST = "0" * 19  # clients of Ollama's draw a bar for lines with a digest, whatever it is


async def make(request: web.Request) -> web.StreamResponse:
    body = decode(body_of(request), pulls.CreateRequest)
    lines = _lines(request.app, _wish(_unfolded(body)))
    if body.stream:
        return await stream(request, lines, FORM)
    async with aclosing(lines):
        async for _ in lines:
            pass
    return replies.json(pulls.Status("success"))


def _unfolded(body: pulls.CreateRequest) -> pulls.CreateRequest:
    """The request with its Modelfile taken apart into fields; fields that were given win."""
    if not body.modelfile:
        return body
    file = parse(body.modelfile)
    uploaded = [source[1:] for source in file.sources if source.startswith("@")]
    if len(file.sources) > 1 and len(uploaded) < len(file.sources) and not body.from_:
        raise BadRequest("FROM must name one model, or uploaded files as @sha256:...")
    return msgspec.structs.replace(
        body,
        from_=body.from_ or ("" if uploaded else file.sources[0]),
        files=body.files or {f"{number:05}.gguf": digest for number, digest in enumerate(uploaded)},
        template=body.template or file.template or "",
        system=body.system or file.system or "",
        license=body.license or list(file.licenses),
        parameters=file.parameters | body.parameters,
        messages=body.messages or [{"role": role, "content": text} for role, text in file.messages],
    )


def _wish(body: pulls.CreateRequest) -> Wish:
    """Raises BadRequest."""
    name = _name(body.model or body.name)
    if body.adapters:
        raise NotSupported("this version of ktd does not support adapters")
    if not body.from_ and not body.files:
        raise BadRequest("neither 'from' or 'files' was specified")
    quantization = body.quantize or body.quantization
    return Wish(
        name=name,
        changes=_changes(body),
        source=_name(body.from_) if body.from_ else None,
        files=_digests(body.files),
        recipe=recipe_named(quantization) if quantization else None,
    )


def _name(text: str) -> ModelName:
    try:
        return ModelName.parse(text)
    except InvalidName as error:
        raise BadRequest("invalid model name") from error


def _digests(files: Mapping[str, str]) -> list[str]:
    """The digests of the files in the order of their names, which is that of shards."""
    for path in files:
        if path.startswith("/") or "\\" in path or ".." in path.split("/"):
            raise BadRequest("file path must be relative")
    return [blobs.checked(digest) for _, digest in sorted(files.items())]


def _changes(body: pulls.CreateRequest) -> Changes:
    if reason := flaw(body.template):  # refused now, not at the first chat
        raise NotSupported(f"the template cannot be run: {reason}")
    parameters = checked(body.parameters)
    terms(parameters)  # values out of range are refused now, not at the first chat
    license = "\n\n".join(body.license) if isinstance(body.license, list) else body.license
    return Changes(
        template=body.template or None,
        system=body.system or None,
        license=license or None,
        parameters=parameters,
        messages=_messages(body.messages) if body.messages else None,
    )


def _messages(given: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    found = []
    for message in given:
        role, content = message.get("role"), message.get("content")
        if role not in ROLES or not isinstance(content, str):
            raise BadRequest('message role must be one of "system", "user", or "assistant", its content text')
        found.append((role, content))
    return tuple(found)


async def _lines(app: web.Application, wish: Wish) -> AsyncGenerator[pulls.Status, None]:
    if wish.source is not None:
        async for line in _found(app, wish.source):
            yield line
    registry = app[keys.REGISTRY]
    work = app[keys.CREATIONS].run(lambda tell, cancelled: create(registry, wish, tell, cancelled))
    async with aclosing(work) as news:
        async for one in news:
            if isinstance(one, Said):
                yield pulls.Status(one.status)
            elif isinstance(one, Step):
                yield pulls.Status(one.status, NO_DIGEST, one.total, one.done)
    yield pulls.Status("success")


async def _found(app: web.Application, source: ModelName) -> AsyncGenerator[pulls.Status, None]:
    """Pull a model that is not here."""
    try:
        await asyncio.to_thread(app[keys.REGISTRY].find, source)
    except ModelNotFound:
        async with aclosing(pull_lines(app, Request(source))) as lines:
            async for line in lines:
                if line.status != "success":
                    yield line
