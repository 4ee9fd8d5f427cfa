"""Access: API keys, where they are set, on every route of every dialect.

KTD_API_KEY is for using models, KTD_ADMIN_KEY for changing which there are; one alone guards what it can. The
daemon's local key, which only its own user can read, opens everything.
"""

import hmac

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from ktd.daemon.errors import Forbidden, Unauthorized
from ktd.daemon.home import LocalKey
from ktd.daemon.settings import Settings

OPEN = ("/health",)  # says nothing that a refusal would not say too
ADMIN = ("create", "copy", "delete", "pull", "push", "downloads", "blobs", "verify", "prune", "import", "files")
KEY_HEADER = "x-api-key"  # Anthropic's; the others send Authorization: Bearer
LOCAL_KEY_HEADER = "X-Ktd-Local-Key"


class Access:
    def __init__(self, settings: Settings, local: LocalKey) -> None:
        self._local = local
        self._admin = [key for key in (settings.admin_key or settings.api_key,) if key]
        self._use = [settings.api_key, *self._admin] if settings.api_key else []

    def middleware(self) -> Middleware:
        @web.middleware
        async def access(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.check(request)
            return await handler(request)

        return access

    def check(self, request: web.Request) -> None:
        """Raises Unauthorized or Forbidden."""
        wanted = self._admin if _changes_models(request.path) else self._use
        if not wanted or request.path in OPEN or self._local.opens(request.headers.get(LOCAL_KEY_HEADER, "")):
            return
        given = _given(request)
        if not _any(given, wanted):
            if _any(given, self._use):
                raise Forbidden("this key is for using models, not for changing which there are")
            raise Unauthorized


def _changes_models(path: str) -> bool:
    _, api, first, *_ = (*path.split("/"), "", "")
    return api == "api" and first in ADMIN


def _given(request: web.Request) -> str:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.headers.get(KEY_HEADER, "")


def _any(given: str, keys: list[str]) -> bool:
    """Whether it is one of the keys, in a time that does not tell how much of it is right."""
    return any([hmac.compare_digest(given.encode(errors="replace"), key.encode()) for key in keys])
