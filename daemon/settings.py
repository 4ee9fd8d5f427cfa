"""Settings: all that can be chosen about the daemon. One field and one row of ROWS for each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ktd.daemon import duration, values
from ktd.engine.messages import DRAFTING, CacheType


class SettingsError(ValueError):
    """A setting whose value cannot be used; the text names both."""


@dataclass(frozen=True, slots=True)
class Settings:
    home: Path
    host: str = "127.0.0.1"
    port: int = values.DEFAULT_PORT  # 0: any free one
    keep_alive: float = 300.0  # seconds a model stays after its last request; inf: for ever
    load_timeout: float = 300.0  # seconds that a load may go without progress; inf: any time
    context: int | None = None  # tokens; None: the engine chooses
    cache_tokens: int | None = None  # KV cache that the requests of a model share; None: the engine chooses
    cache_type: CacheType = "f16"  # of the values that the KV cache keeps
    step_tokens: int | None = None  # most tokens of one step of a model; None: the engine chooses
    parallel: int | None = None  # most requests in one step of a model; None: as many as the cache holds
    max_new_tokens: int | None = None  # of any answer
    drafting: int = DRAFTING  # answers at once for which tokens are guessed, by a model's own NextN block; 0: never
    lookup: int = 0  # tokens that are guessed where a text repeats itself; 0: none
    threads: int | None = None  # None: the engine chooses
    devices: str = "cpu"  # that models are placed on; cuda:0 and so on are GPUs, auto is all of them
    gpu_experts: str = "auto"  # routed experts that go to GPUs: what fits, those of so many layers, or so many bytes
    rules: str = ""  # the text of a file that says which tensors go where
    max_loaded: int = 3  # models in memory at once
    max_queue: int = 512  # requests waiting or running before new ones are turned away
    max_connections: int = 1024  # of clients, before new ones are closed at once
    drop_tools: bool = False  # models that call no tools are asked without them; else such requests are refused
    origins: tuple[str, ...] = ()  # allowed besides the built-in ones; `*` in an entry matches anything
    hosts: tuple[str, ...] = ()  # Host names allowed besides this machine's own
    api_key: str | None = field(default=None, repr=False)  # for using models
    admin_key: str | None = field(default=None, repr=False)  # for changing which there are; None: the same
    tls_cert: Path | None = None  # PEM, with its chain; None: plain HTTP
    tls_key: Path | None = None  # PEM; None: it is in the file of the certificate
    access_log: Path | None = None  # a JSON line for each request; values.STDERR is standard error
    database_url: str | None = None  # None: SQLite in `home`
    pull_connections: int = 4  # that fetch at once, of all pulls together
    pull_rate: int | None = None  # bytes a second of all pulls together; None: as fast as it goes
    gguf_path: Path | None = None  # a model to register and load at start: a GGUF file, or a folder of its shards
    model_path: Path | None = None  # its configuration, as its original repository has it


@dataclass(frozen=True, slots=True)
class Row:
    """How a field of Settings is read: from KTD_<variable>, and OLLAMA_<variable> where Ollama means the same."""

    field: str
    variable: str
    read: Callable[[str], object]  # raises ValueError; None means the default
    ollama: bool = False
    secret: bool = False


ROWS = (
    Row("address", "HOST", values.address, ollama=True),  # becomes `host` and `port`
    Row("port", "PORT", values.port),
    Row("home", "HOME", values.path),
    Row("keep_alive", "KEEP_ALIVE", duration.seconds, ollama=True),
    Row("load_timeout", "LOAD_TIMEOUT", lambda text: duration.seconds(text) or duration.FOREVER, ollama=True),
    Row("context", "CONTEXT_LENGTH", values.count, ollama=True),
    Row("cache_tokens", "CACHE_TOKENS", values.count),
    Row("cache_type", "KV_CACHE_TYPE", values.cache_type, ollama=True),
    Row("step_tokens", "STEP_TOKENS", values.count),
    Row("parallel", "NUM_PARALLEL", values.count, ollama=True),
    Row("max_new_tokens", "MAX_NEW_TOKENS", values.count),
    Row("drafting", "DRAFTING", values.number),
    Row("lookup", "LOOKUP", values.number),
    Row("threads", "THREADS", values.count),
    Row("devices", "DEVICES", values.devices),
    Row("gpu_experts", "GPU_EXPERTS", values.gpu_experts),
    Row("rules", "RULES", values.text_of_file),
    Row("max_loaded", "MAX_LOADED_MODELS", values.count, ollama=True),
    Row("max_queue", "MAX_QUEUE", values.count, ollama=True),
    Row("max_connections", "MAX_CONNECTIONS", values.count),
    Row("drop_tools", "DROP_TOOLS", values.flag),
    Row("origins", "ORIGINS", values.names, ollama=True),
    Row("hosts", "ALLOWED_HOSTS", values.names),
    Row("api_key", "API_KEY", values.key, secret=True),
    Row("admin_key", "ADMIN_KEY", values.key, secret=True),
    Row("tls_cert", "TLS_CERT", values.path),
    Row("tls_key", "TLS_KEY", values.path),
    Row("access_log", "ACCESS_LOG", values.log),
    Row("database_url", "DATABASE_URL", str, secret=True),  # it may hold a password
    Row("pull_connections", "PULL_CONNECTIONS", values.count),
    Row("pull_rate", "PULL_RATE", values.rate),
    Row("gguf_path", "GGUF_PATH", values.path),
    Row("model_path", "MODEL_PATH", values.path),
)
