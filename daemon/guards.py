"""Guards: which requests get past the door, by their Host and Origin, and what browsers are told about it.

A page on another site may make a browser send requests here (CVE-2024-28224: DNS rebinding). So a Host must be a
name or address of this machine whatever the daemon is bound to, and an Origin must be known.
"""

import re
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from ktd.daemon.settings import Settings

LOCAL_SUFFIXES = (".localhost", ".local", ".internal")
BUILT_IN_ORIGINS = (
    *(f"{scheme}://{host}{port}" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1", "0.0.0.0")
      for port in ("", ":*")),
    *(f"{scheme}://*" for scheme in ("app", "file", "tauri", "vscode-webview", "vscode-file")),
)  # fmt: skip
METHODS = "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
STAINLESS = (
    "arch async custom-poll-interval helper-method lang os package-version poll-helper retry-count runtime "
    "runtime-version timeout"
)
HEADERS = (
    "Authorization, Content-Type, User-Agent, Accept, X-Requested-With, OpenAI-Beta, x-api-key, anthropic-version, "
    + ", ".join(f"x-stainless-{name}" for name in STAINLESS.split())
)
PREFLIGHT_AGE = "43200"  # seconds


class Guard:
    def __init__(self, settings: Settings) -> None:
        machine = socket.gethostname().lower()
        self._hosts = {"", "localhost", machine, *(host.lower() for host in settings.hosts)}
        self._origins = [_pattern(origin) for origin in (*BUILT_IN_ORIGINS, *settings.origins)]
        self._anywhere = "*" in settings.origins

    def middleware(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._host_is_ours(request) or not self._origin_is_allowed(request):
                return web.Response(status=403)
            if request.method == hdrs.METH_OPTIONS:
                return web.Response(status=204, headers=_preflight(request))
            return await handler(request)

        return guard

    async def mark(self, request: web.Request, response: web.StreamResponse) -> None:
        """Tell a browser that the page may read this reply. A signal of aiohttp's, so that streams get it too."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and self._origin_is_allowed(request):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*" if self._anywhere else origin
            response.headers[hdrs.VARY] = hdrs.ORIGIN

    def _host_is_ours(self, request: web.Request) -> bool:
        try:
            host = (urlsplit(f"//{request.headers.get(hdrs.HOST, '')}").hostname or "").removesuffix(".")
        except ValueError:
            return False
        if host in self._hosts or host.endswith(LOCAL_SUFFIXES):
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        ours = address.is_loopback or address.is_private or address.is_unspecified
        return ours or host == _own_address(request)

    def _origin_is_allowed(self, request: web.Request) -> bool:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or _same_place(origin, request.headers.get(hdrs.HOST, "")):
            return True
        return any(pattern.fullmatch(origin) for pattern in self._origins)


def _same_place(origin: str, host: str) -> bool:
    return bool(host) and origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def _own_address(request: web.Request) -> str | None:
    """The address of this machine that the client has connected to."""
    name = request.get_extra_info("sockname")
    return name[0] if isinstance(name, tuple) else None


def _preflight(request: web.Request) -> dict[str, str]:
    if hdrs.ORIGIN not in request.headers:
        return {}
    return {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: HEADERS,
        hdrs.ACCESS_CONTROL_MAX_AGE: PREFLIGHT_AGE,
    }


def _pattern(origin: str) -> re.Pattern[str]:
    """`*` alone is any origin, at the end of `:*` any port, and elsewhere whatever has no slash in it."""
    if origin == "*":
        return re.compile(".*")
    place, any_port, rest = origin.removesuffix("/").rpartition(":*")
    if not any_port or rest:
        place, any_port = origin.removesuffix("/"), ""
    return re.compile("[^/]*".join(map(re.escape, place.split("*"))) + (r":\d+" if any_port else ""), re.IGNORECASE)
