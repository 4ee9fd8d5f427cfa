"""What handlers share, by typed key."""

from aiohttp import web

from ktd.daemon.chat.admission import Admission
from ktd.daemon.chat.answer import Answerer
from ktd.daemon.chat.renderer import Renderer
from ktd.daemon.chores import Chores
from ktd.daemon.embedder import Embedder
from ktd.daemon.home import LocalKey
from ktd.daemon.host import ModelHost
from ktd.daemon.metrics import Metrics
from ktd.daemon.settings import Settings
from ktd.registry.catalog import Catalog
from ktd.registry.pulls.pulls import Pulls
from ktd.registry.store import Registry
from ktd.registry.verify import Verifier

SETTINGS = web.AppKey("settings", Settings)
REGISTRY = web.AppKey("registry", Registry)
HOST = web.AppKey("host", ModelHost)
RENDERER = web.AppKey("renderer", Renderer)
ADMISSION = web.AppKey("admission", Admission)
ANSWERER = web.AppKey("answerer", Answerer)
EMBEDDER = web.AppKey("embedder", Embedder)
METRICS = web.AppKey("metrics", Metrics)
IMPORTS = web.AppKey("imports", Chores)
CREATIONS = web.AppKey("creations", Chores)
PULLS = web.AppKey("pulls", Pulls)
VERIFIER = web.AppKey("verifier", Verifier)
CATALOG = web.AppKey("catalog", Catalog)
LOCAL_KEY = web.AppKey("local_key", LocalKey)
