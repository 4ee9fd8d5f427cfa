"""A hub on loopback that speaks to the real client libraries: Hugging Face's routes, ModelScope's, and a second host
that files are redirected to. A test hangs faults on it and reads what was asked."""

import asyncio
import hashlib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

STEP = 1 << 14  # bytes sent at a time
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Fault:
    """What goes wrong with the next `times` requests for the rest of a file (not only its header) that ends so."""

    path: str
    times: int = 1
    first: int | None = None  # only requests whose first byte is this one
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None  # the connection is dropped before this byte
    hold_at: int | None = None  # nothing more comes until `go` is set
    go: threading.Event = field(default_factory=threading.Event)
    change: Callable[[bytes], bytes] | None = None
    ignore_range: bool = False


@dataclass
class Repo:
    files: dict[str, bytes]
    base: list[str] = field(default_factory=list)
    gated: bool = False
    token: str | None = None  # without it there is no such repository
    sizes: dict[str, int] = field(default_factory=dict)  # that are claimed instead of the true ones


@dataclass
class Asked:
    host: str  # "hub" or "cdn"
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("Range")


class FakeHub:
    """`hub.url` is both hubs' endpoint. Use it as a context manager."""

    def __init__(self, certificate: ssl.SSLContext | None = None) -> None:
        self.repos: dict[str, Repo] = {}
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.pace = 0.0  # seconds between steps
        self.down: set[str] = set()  # "huggingface", "modelscope": answers 503
        self.silent: set[str] = set()  # takes questions about repositories and never answers
        self.links: set[str] = set()  # paths that ModelScope lists as symbolic links
        self.redirect: str | None = None  # where files are redirected to instead
        self.moved: str | None = None  # where questions about repositories are redirected to
        self.url = self.cdn = ""
        self._certificate = certificate  # speaks https, then
        self.sent = 0  # bytes of files
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> "FakeHub":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        for fault in self.faults:
            fault.go.set()
        self.silent.clear()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def fetched(self, ending: str) -> list[Asked]:
        """Requests for the bytes of a file at the host that has them."""
        return [asked for asked in self.asked if asked.path.endswith(ending) and asked.host == "cdn"]

    async def _serve(self) -> None:
        hub = web.Application()
        hub.add_routes(
            [
                web.get("/api/models", self._hf_search),
                web.get("/api/models/{ns}/{repo}", self._hf_info),
                web.get("/api/models/{ns}/{repo}/revision/{revision:.+}", self._hf_info),
                web.get("/{ns}/{repo}/resolve/{revision}/{path:.+}", self._hf_file),
                web.get("/openapi/v1/models", self._ms_search),
                web.get("/api/v1/models/{ns}/{repo}", self._ms_info),
                web.get("/api/v1/models/{ns}/{repo}/repo/files", self._ms_files),
                web.get("/api/v1/models/{ns}/{repo}/repo", self._ms_file),
            ]
        )
        cdn = web.Application()
        cdn.router.add_get("/{ns}/{repo}/{path:.+}", self._cdn_file)
        runners = [web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True) for app in (hub, cdn)]
        urls = []
        for runner in runners:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._certificate).start()
            urls.append(f"http{'s' * bool(self._certificate)}://127.0.0.1:{runner.addresses[0][1]}")
        self.url, self.cdn = urls
        self._ready.set()
        await self._stop.wait()
        for runner in runners:
            await runner.cleanup()

    def _note(self, host: str, request: web.Request, path: str | None = None) -> None:
        self.asked.append(Asked(host, path or request.path, dict(request.headers)))

    def _repo(self, request: web.Request, hub: str) -> tuple[str, Repo]:
        if hub in self.down:
            raise web.HTTPServiceUnavailable
        name = f"{request.match_info['ns']}/{request.match_info['repo']}"
        repo = self.repos.get(name)
        allowed = repo and (repo.token is None or request.headers.get("Authorization") == f"Bearer {repo.token}")
        if repo is None or not allowed:
            code = {"X-Error-Code": "RepoNotFound"} if hub == "huggingface" else {}
            raise web.HTTPNotFound(headers=code)
        if repo.gated:
            raise web.HTTPForbidden(headers={"X-Error-Code": "GatedRepo"} if hub == "huggingface" else {})
        return name, repo

    async def _hf_info(self, request: web.Request) -> web.Response:
        self._note("hub", request)
        while "huggingface" in self.silent:
            await asyncio.sleep(0.02)
        if self.moved and "moved" not in request.query:
            raise web.HTTPTemporaryRedirect(self.moved)
        name, repo = self._repo(request, "huggingface")
        revision = request.match_info.get("revision", "main")
        if revision not in ("main", COMMIT):
            raise web.HTTPNotFound(headers={"X-Error-Code": "RevisionNotFound"})
        siblings = [_sibling(path, data, repo.sizes.get(path, len(data))) for path, data in repo.files.items()]
        card = {"base_model": repo.base} if repo.base else {}
        return web.json_response({"id": name, "sha": COMMIT, "siblings": siblings, "cardData": card, "tags": []})

    async def _hf_search(self, request: web.Request) -> web.Response:
        self._note("hub", request)
        if "huggingface" in self.down:
            raise web.HTTPServiceUnavailable
        query = request.query.get("search", "").lower()
        found = [
            {"id": name, "downloads": 7, "lastModified": "2025-02-03T04:05:06.000Z", "tags": ["gguf"]}
            for name in self.repos
            if query in name.lower()
        ]
        return web.json_response(found)

    async def _hf_file(self, request: web.Request) -> web.StreamResponse:
        self._note("hub", request)
        name, repo = self._repo(request, "huggingface")
        path = request.match_info["path"]
        if path not in repo.files:
            raise web.HTTPNotFound(headers={"X-Error-Code": "EntryNotFound"})
        if not path.endswith(".gguf"):
            return web.Response(body=repo.files[path])
        digest = hashlib.sha256(repo.files[path]).hexdigest()
        fault = self._fault(path, lambda fault: bool(fault.headers))
        headers = {
            "Location": self.redirect or f"{self.cdn}/{name}/{path}",
            "X-Linked-Etag": f'"{digest}"',
            "X-Linked-Size": str(len(repo.files[path])),
            "X-Repo-Commit": COMMIT,
        }
        return web.Response(status=302, headers=headers | (fault.headers if fault else {}))

    async def _ms_info(self, request: web.Request) -> web.Response:
        self._note("hub", request)
        _, repo = self._repo(request, "modelscope")
        return web.json_response({"Code": 200, "Success": True, "Data": {"BaseModel": repo.base}})

    async def _ms_files(self, request: web.Request) -> web.Response:
        self._note("hub", request)
        _, repo = self._repo(request, "modelscope")
        files: list[dict[str, Any]] = [
            {
                "Path": path,
                "Size": len(data),
                "Sha256": hashlib.sha256(data).hexdigest(),
                "Type": "blob",
                "Mode": "40960" if path in self.links else "33188",
            }
            for path, data in repo.files.items()
        ]
        folders = {path.rpartition("/")[0] for path in repo.files} - {""}
        files += [{"Path": folder, "Size": 0, "Type": "tree"} for folder in sorted(folders)]
        return web.json_response({"Code": 200, "Success": True, "Data": {"Files": files}})

    async def _ms_search(self, request: web.Request) -> web.Response:
        self._note("hub", request)
        if "modelscope" in self.down:
            raise web.HTTPServiceUnavailable
        query = request.query.get("search", "").lower()
        found = [
            {"id": name, "downloads": 3, "last_modified": "2025-03-04T00:00:00Z", "tags": ["gguf"]}
            for name in self.repos
            if query in name.lower()
        ]
        data = {"models": found, "total_count": len(found), "page_number": 1, "page_size": 50}
        return web.json_response({"success": True, "data": data})

    async def _ms_file(self, request: web.Request) -> web.StreamResponse:
        self._note("hub", request, request.query["FilePath"])
        name, repo = self._repo(request, "modelscope")
        path = request.query["FilePath"]
        if path not in repo.files:
            raise web.HTTPNotFound
        if path.endswith(".gguf"):
            raise web.HTTPFound(f"{self.cdn}/{name}/{path}")
        return web.Response(body=repo.files[path])

    async def _cdn_file(self, request: web.Request) -> web.StreamResponse:
        self._note("cdn", request)
        repo = self.repos[f"{request.match_info['ns']}/{request.match_info['repo']}"]
        path = request.match_info["path"]
        asked = request.headers.get("Range", "bytes=0-")
        rest = asked.endswith("-") or not asked.startswith("bytes=0-")  # a header is asked for by its first bytes
        data = repo.files[path]
        start, end = _range(request, len(data))

        def fits(fault: Fault) -> bool:
            return rest and fault.first in (None, start) and (not fault.headers or bool(fault.status))

        fault = self._fault(path, fits) or Fault(path)
        if fault.status:
            return web.Response(status=fault.status, headers=fault.headers)
        if fault.ignore_range:
            start, end = 0, len(data)
        if start >= len(data):
            return web.Response(status=416)
        return await self._send(request, fault.change(data) if fault.change else data, start, end, fault)

    async def _send(self, request: web.Request, data: bytes, start: int, end: int, fault: Fault) -> web.StreamResponse:
        partly = "Range" in request.headers and not fault.ignore_range
        response = web.StreamResponse(status=206 if partly else 200)
        response.content_length = end - start
        if partly:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        await response.prepare(request)
        while start < end:
            for limit in (fault.cut_at, fault.hold_at):
                if limit is not None and start < limit:
                    end_of_step = min(start + STEP, end, limit)
                    break
            else:
                end_of_step = min(start + STEP, end)
            if fault.cut_at is not None and start >= fault.cut_at and request.transport:
                request.transport.abort()
                return response
            if fault.hold_at is not None and start >= fault.hold_at:
                while not fault.go.is_set():
                    await asyncio.sleep(0.01)
            await response.write(data[start:end_of_step])
            self.sent += end_of_step - start
            start = end_of_step
            await asyncio.sleep(self.pace)
        return response

    def _fault(self, path: str, fits: Callable[[Fault], bool]) -> Fault | None:
        for fault in self.faults:
            if fault.times and path.endswith(fault.path) and fits(fault):
                fault.times -= 1
                return fault
        return None


def _range(request: web.Request, size: int) -> tuple[int, int]:
    text = request.headers.get("Range", "bytes=0-").removeprefix("bytes=")
    first, _, last = text.partition("-")
    return int(first), min(int(last) + 1, size) if last else size


def _sibling(path: str, data: bytes, size: int) -> dict[str, Any]:
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    entry: dict[str, Any] = {"rfilename": path, "size": size, "blobId": oid}
    if path.endswith(".gguf"):
        entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry
