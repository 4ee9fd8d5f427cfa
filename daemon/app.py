"""The application: its routes as one list, and what they share from start to stop."""

import asyncio
import os
from collections.abc import AsyncIterator

from aiohttp import hdrs, web

from ktd.daemon import keys, replies
from ktd.daemon.access import Access
from ktd.daemon.access_log import AccessLog
from ktd.daemon.bodies import Bodies
from ktd.daemon.chat.admission import Admission
from ktd.daemon.chat.answer import Answerer
from ktd.daemon.chat.framing import Framings
from ktd.daemon.chat.renderer import Renderer
from ktd.daemon.chores import Chores
from ktd.daemon.door import welcome
from ktd.daemon.embedder import Embedder
from ktd.daemon.engine_port import Engine
from ktd.daemon.guards import Guard
from ktd.daemon.home import LocalKey
from ktd.daemon.host import ModelHost
from ktd.daemon.metrics import Metrics
from ktd.daemon.preload import loading
from ktd.daemon.routes import (
    blobs,
    catalog,
    chat,
    completions,
    create,
    downloads,
    embeddings,
    generate,
    health,
    local,
    messages,
    missing,
    models,
    openai_chat,
    openai_models,
    pull,
    responses,
    tokens,
    upkeep,
)
from ktd.daemon.settings import Settings
from ktd.engine.client import available_memory, graphics_cards
from ktd.registry.catalog import Catalog
from ktd.registry.fit import Machine
from ktd.registry.pulls.limits import Limits
from ktd.registry.pulls.pulls import Pulls
from ktd.registry.record import ModelRecord
from ktd.registry.sources.hubs import Hubs
from ktd.registry.store import Registry
from ktd.registry.verify import Verifier

ROUTES = [
    web.get("/", health.root),
    web.get("/health", health.health),
    web.get("/metrics", health.metrics),
    web.get("/api/version", health.version),
    web.get("/api/status", health.status),
    web.post("/api/me", health.me),
    web.get("/api/tags", models.tags),
    web.get("/api/ps", models.loaded),
    web.post("/api/show", models.show),
    web.post("/api/copy", models.copy),
    web.delete("/api/delete", models.delete),
    web.post("/api/generate", generate.generate),
    web.post("/api/chat", chat.chat),
    web.post("/api/embed", embeddings.embed),
    web.post("/api/embeddings", embeddings.old_embeddings),
    web.post("/api/tokenize", tokens.tokenize),
    web.post("/api/detokenize", tokens.detokenize),
    web.post("/api/create", create.make),
    web.post("/api/pull", pull.pull),
    web.post("/api/push", pull.push),
    web.get("/api/downloads", downloads.unfinished),
    web.post("/api/downloads", downloads.change),
    web.get("/api/search", catalog.search),
    web.get("/api/quants", catalog.quants),
    web.head("/api/blobs/{digest}", blobs.exists),
    web.post("/api/blobs/{digest}", blobs.upload),
    web.post("/api/verify", upkeep.verify),
    web.post("/api/prune", upkeep.prune),
    web.post("/api/import", local.import_model),
    web.get("/api/files", local.files),
    web.get("/v1/models", openai_models.models),
    web.get("/v1/models/{name:.+}", openai_models.model),
    web.post("/v1/chat/completions", openai_chat.completions),
    web.post("/v1/completions", completions.complete),
    web.post("/v1/embeddings", embeddings.openai_embeddings),
    web.post("/v1/responses", responses.respond),
    web.post("/v1/messages", messages.messages),
    web.post("/v1/messages/count_tokens", messages.count),
    web.post("/v1/audio/transcriptions", missing.transcriptions),
    web.route("*", "/api/experimental/{name}", missing.cloud),
    web.post("/api/signout", missing.cloud),
]


def application(
    settings: Settings, registry: Registry, engine: Engine, first: ModelRecord | None = None
) -> web.Application:
    """Closes its workers when it is cleaned up; the registry stays the caller's. `first` is loaded at once, to stay."""
    guard, local_key = Guard(settings), LocalKey(settings.home)
    access = Access(settings, local_key)
    middlewares = [welcome, guard.middleware(), replies.errors, access.middleware(), Bodies().middleware()]
    if settings.access_log is not None:
        middlewares.insert(1, AccessLog(settings.access_log).middleware())
    app = web.Application(middlewares=middlewares)
    _share(app, settings, registry, engine)
    app[keys.LOCAL_KEY] = local_key
    app.add_routes(ROUTES)
    app.on_response_prepare.extend((guard.mark, _sign, app[keys.METRICS].mark))
    app.on_shutdown.append(_stop_answers)
    app.cleanup_ctx.append(_helpers)
    if first is not None:
        app.cleanup_ctx.append(loading(first))
    return app


def _share(app: web.Application, settings: Settings, registry: Registry, engine: Engine) -> None:
    """What handlers find in it."""
    host, renderer = ModelHost(engine, settings), Renderer()
    metrics, hubs = Metrics(host), Hubs(registry.home, os.environ)
    limits = Limits(connections=settings.pull_connections, rate=settings.pull_rate)
    app[keys.SETTINGS] = settings
    app[keys.REGISTRY] = registry
    app[keys.HOST] = host
    app[keys.RENDERER] = renderer
    app[keys.ADMISSION] = Admission(settings.drop_tools)
    app[keys.ANSWERER] = Answerer(host, Framings(registry), renderer, metrics.answered)
    app[keys.EMBEDDER] = Embedder(host)
    app[keys.METRICS] = metrics
    app[keys.IMPORTS] = Chores("import")
    app[keys.CREATIONS] = Chores("create", threads=4)
    app[keys.PULLS] = Pulls(registry, hubs, _machine, limits)
    app[keys.VERIFIER] = Verifier(registry, hubs, limits)
    app[keys.CATALOG] = Catalog(hubs, _machine)


def _machine() -> Machine:
    cards = graphics_cards()
    return Machine(available_memory(), sum(card.free for card in cards), len(cards))


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers[hdrs.SERVER] = health.SERVER


async def _stop_answers(app: web.Application) -> None:
    """Before connections are closed, so that every running answer and pull can still say why it ends."""
    await asyncio.to_thread(app[keys.PULLS].stop)
    await app[keys.HOST].close()


async def _helpers(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[keys.RENDERER].close()
    await asyncio.to_thread(app[keys.PULLS].close)
    await asyncio.to_thread(app[keys.VERIFIER].close)
    await asyncio.to_thread(app[keys.IMPORTS].close)
    await asyncio.to_thread(app[keys.CREATIONS].close)
