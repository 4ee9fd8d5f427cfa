"""GET /api/search and /api/quants, which are ktd's own: what the hubs have."""

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.errors import BadRequest
from ktd.daemon.wire import pulls
from ktd.registry.errors import InvalidName
from ktd.registry.names import ModelName
from ktd.registry.sources.hubs import source_named

SHOWN = 20
MOST_SHOWN = 100


async def search(request: web.Request) -> web.Response:
    query = request.query.get("query", "").strip()
    if not query:
        raise BadRequest("query is required")
    limit = request.query.get("limit", str(SHOWN))
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= MOST_SHOWN:
        raise BadRequest(f"limit must be a number from 1 to {MOST_SHOWN}")
    found, problems = await request.app[keys.CATALOG].search(query, int(limit))
    rows = [pulls.FoundRepo(one.repo, one.source, one.downloads, one.updated) for one in found]
    return replies.json(pulls.Search(rows, problems))


async def quants(request: web.Request) -> web.Response:
    try:
        name = ModelName.parse(request.query.get("model", ""))
        source = request.query.get("source")
        wanted = source_named(source) if source else None
    except InvalidName as error:
        raise BadRequest(str(error)) from error
    found = await request.app[keys.CATALOG].quants(name, wanted)
    rows = [
        pulls.Quant(
            quant=row.label,
            size=row.size,
            bits=row.bits,
            needed=row.fit.needed,
            verdict=row.fit.verdict,
            complete=row.complete,
            files=list(row.files),
        )
        for row in found.rows
    ]
    machine = pulls.Machine(found.machine.ram, found.machine.vram, found.machine.cards)
    return replies.json(pulls.Quants(found.repo, found.source, found.architecture, machine, rows))
