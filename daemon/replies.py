"""Replies: JSON documents, and errors in the shape of the dialect that was spoken to."""

import secrets

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from ktd.daemon.errors import Failure, failure_of
from ktd.daemon.wire import anthropic, ollama, openai

ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    503: "overloaded_error",
}
OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
}


def json(record: object, failure: Failure | None = None) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(record),
        status=failure.status if failure else 200,
        headers=failure.headers if failure else None,
        content_type="application/json",
        charset="utf-8",
    )


def ollama_error(failure: Failure) -> ollama.Error:
    return ollama.Error(failure.message)


def openai_error(failure: Failure) -> openai.Error:
    return openai.Error(openai.ErrorBody(failure.message, OPENAI_TYPES.get(failure.status, "api_error")))


def anthropic_error(failure: Failure) -> anthropic.Error:
    body = anthropic.ErrorBody(ANTHROPIC_TYPES.get(failure.status, "api_error"), failure.message)
    return anthropic.Error(body, f"req_{secrets.token_hex(12)}")


def in_dialect(path: str, failure: Failure) -> web.Response:
    """The failure as the clients of this path read it."""
    if path.startswith("/v1/messages"):
        return json(anthropic_error(failure), failure)
    return json(openai_error(failure) if path.startswith("/v1/") else ollama_error(failure), failure)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error of every handler ends here, unless its reply has already begun."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return await _not_found(request)
    except web.HTTPMethodNotAllowed as error:
        allow = {hdrs.ALLOW: error.headers[hdrs.ALLOW]}
        return web.Response(status=405, text="405 method not allowed", headers=allow)
    except Exception as error:
        return in_dialect(request.path, failure_of(error))


async def _not_found(request: web.Request) -> web.Response:
    """A trailing slash leads to the path without it; any other unknown path is not found, in plain text."""
    path = request.path.rstrip("/")
    if path and path != request.path:
        found = await request.app.router.resolve(request.clone(rel_url=path))
        if found.http_exception is None:
            status = 301 if request.method in (hdrs.METH_GET, hdrs.METH_HEAD) else 307
            return web.Response(status=status, headers={hdrs.LOCATION: path})
    return web.Response(status=404, text="404 page not found")
