"""Metrics: what the daemon has done and what it is doing, as Prometheus reads it."""

from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from ktd.daemon.chat.ending import Ending
from ktd.daemon.host import ModelHost

WAITS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)  # seconds
SPEEDS = (0.5, 1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 500)  # tokens a second


class Metrics:
    def __init__(self, host: ModelHost) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("ktd_requests", "HTTP replies begun", ["path", "status"], registry=registry)
        self._answers = Counter("ktd_answers", "Answers ended, by why", ["reason"], registry=registry)
        self._prompt = Counter("ktd_prompt_tokens", "Tokens of prompts, cached ones too", registry=registry)
        self._cached = Counter("ktd_cached_prompt_tokens", "Tokens of prompts found in the cache", registry=registry)
        self._output = Counter("ktd_output_tokens", "Tokens of answers", registry=registry)
        self._guessed = Counter("ktd_guessed_tokens", "Tokens computed before they were chosen", registry=registry)
        self._right = Counter("ktd_right_guesses", "Guessed tokens that were chosen", registry=registry)
        self._first = Histogram(
            "ktd_first_token_seconds", "From request to first word", buckets=WAITS, registry=registry
        )
        self._speed = Histogram(
            "ktd_output_tokens_per_second", "Decoding speed of an answer", buckets=SPEEDS, registry=registry
        )
        registry.register(_Now(host))

    def answered(self, ending: Ending) -> None:
        done = ending.done
        self._answers.labels(done.reason).inc()
        self._prompt.inc(done.prompt_tokens)
        self._cached.inc(done.cached_tokens)
        self._output.inc(done.output_tokens)
        self._guessed.inc(done.guessed)
        self._right.inc(done.right)
        if ending.first_ns is not None:
            self._first.observe(ending.first_ns / 1e9)
        if done.output_tokens > 1 and done.output_ns:  # the first token is the prompt's last step
            self._speed.observe((done.output_tokens - 1) / (done.output_ns / 1e9))

    async def mark(self, request: web.Request, response: web.StreamResponse) -> None:
        """A signal of aiohttp's. Paths are those of the routes, so that nobody can make up more of them."""
        resource = request.match_info.route.resource
        self._requests.labels(resource.canonical if resource else "other", str(response.status)).inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Now:
    """What the host holds at the moment of asking."""

    def __init__(self, host: ModelHost) -> None:
        self._host = host

    def collect(self) -> Iterator[GaugeMetricFamily]:
        requests = GaugeMetricFamily("ktd_queue_requests", "Requests that wait for a model or run on it")
        requests.add_metric([], self._host.requests)
        memory = GaugeMetricFamily("ktd_model_memory_bytes", "Memory of loaded models", labels=["model", "device"])
        running = GaugeMetricFamily("ktd_model_requests", "Requests of a model, loading or loaded", labels=["model"])
        for resident in self._host.residents():
            name = " ".join(str(record.name) for record in resident.records)
            running.add_metric([name], resident.users)
            if resident.worker is not None:
                memory.add_metric([name, "cpu"], resident.worker.loaded.memory)
                memory.add_metric([name, "gpu"], resident.worker.loaded.gpu_memory)
        yield from (requests, memory, running)
