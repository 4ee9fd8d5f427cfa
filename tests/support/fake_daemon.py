"""A daemon without models: Ollama's protocol over loopback HTTP, with answers a test has written down."""

import asyncio
import json
import threading
from typing import Any

from aiohttp import web

Record = dict[str, Any]


class Reply:
    """One answer: records sent as NDJSON, `pause` seconds apart; `cut` ends the connection in the middle."""

    def __init__(self, *records: object, status: int = 200, cut: bool = False, pause: float = 0.0) -> None:
        self.records = records
        self.status = status
        self.cut = cut
        self.pause = pause


LOADED = Reply({"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "load"})


class FakeDaemon:
    """Answers `replies["POST /api/chat"]` and so on; keeps what it was asked in `requests`."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.requests: list[tuple[str, Record]] = []
        self.headers: list[dict[str, str]] = []
        self.disconnected = threading.Event()
        self.version = {"version": "0.14.0", "ktd": "0.1.0"}
        self.url = ""
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def asked(self, route: str) -> list[Record]:
        """The bodies of all requests to a route such as `POST /api/chat`."""
        return [body for asked, body in self.requests if asked == route]

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/api/version":
            return web.json_response(self.version)
        route = f"{request.method} {request.path}"
        body = await request.text()
        self.requests.append((route, json.loads(body) if body else dict(request.query)))
        self.headers.append(dict(request.headers))
        reply = self.replies.get(route, Reply({"error": f"no reply for {route}"}, status=404))
        if self.requests[-1][1].get("messages") == []:
            reply = LOADED
        try:
            return await self._send(request, reply)
        except asyncio.CancelledError:
            self.disconnected.set()
            raise

    async def _send(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for record in reply.records:
            await response.write(json.dumps(record).encode() + b"\n")
            await asyncio.sleep(reply.pause)
        if reply.cut and request.transport is not None:
            request.transport.abort()
        return response


def spoken(*pieces: str, thinking: tuple[str, ...] = ()) -> tuple[Record, ...]:
    """The records of one chat answer: thinking, then text, then the counters."""
    last = {
        "done": True,
        "done_reason": "stop",
        "total_duration": 2_500_000_000,
        "load_duration": 85_100_000,
        "prompt_eval_count": 11,
        "prompt_eval_duration": 500_000_000,
        "eval_count": 30,
        "eval_duration": 1_500_000_000,
    }
    messages = [{"content": "", "thinking": piece} for piece in thinking] + [{"content": text} for text in pieces]
    records: list[Record] = [{"message": message, "done": False} for message in messages]
    return *records, {"message": {"content": ""}, **last}
