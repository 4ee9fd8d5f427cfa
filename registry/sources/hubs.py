"""Hubs: which of them a name means, in what order they are asked, with whose credentials."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ktd.registry.errors import InvalidName, NotAtHub
from ktd.registry.names import DEFAULT_HOST, DEFAULT_NAMESPACE, ModelName
from ktd.registry.sources import huggingface, modelscope
from ktd.registry.sources.hub import Hub
from ktd.registry.sources.huggingface import HuggingFace
from ktd.registry.sources.modelscope import ModelScope

HOSTS = {
    "hf.co": "huggingface",
    "huggingface.co": "huggingface",
    "hf-mirror.com": "huggingface",
    "modelscope.cn": "modelscope",
    "www.modelscope.cn": "modelscope",
    "modelscope.ai": "modelscope",
    "www.modelscope.ai": "modelscope",
}
OWN_ENDPOINT = {"hf-mirror.com": "https://hf-mirror.com", "modelscope.ai": "https://modelscope.ai"}
SOURCES = {"huggingface": "huggingface", "hf": "huggingface", "modelscope": "modelscope", "ms": "modelscope"}
HF_VARIABLES = ("HF_ENDPOINT", "HF_TOKEN")
MODELSCOPE_VARIABLES = ("MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN", "MODELSCOPE_API_TOKEN")


def source_named(text: str) -> str:
    """ "hf" -> "huggingface". Raises `InvalidName`."""
    try:
        return SOURCES[text.lower()]
    except KeyError:
        raise InvalidName(f"unknown source {text!r:.40}: it must be huggingface (hf) or modelscope (ms)") from None


@dataclass(frozen=True, slots=True)
class Hubs:
    """What the environment says about the hubs: the variables of their own tools, KTD_SOURCE for their order."""

    home: Path
    environ: Mapping[str, str]

    def order(self) -> list[str]:
        """The source asked for by KTD_SOURCE; else the one that is configured; else Hugging Face, first."""
        first = "huggingface"
        if named := self._value("KTD_SOURCE"):
            first = source_named(named)
        elif any(map(self._value, MODELSCOPE_VARIABLES)) and not any(map(self._value, HF_VARIABLES)):
            first = "modelscope"
        return sorted(("huggingface", "modelscope"), key=lambda name: name != first)

    def all(self) -> list[Hub]:
        return [self._make(source) for source in self.order()]

    def of(self, name: ModelName, source: str | None = None, token: str | None = None) -> list[Hub]:
        """The hubs that may have a model, in the order to ask them. `token` is for the first only.

        Raises `NotAtHub` for a name that no hub can have, `InvalidName` for an unknown source.
        """
        host = name.host.lower()
        if host == DEFAULT_HOST:
            if name.namespace.lower() == DEFAULT_NAMESPACE:
                raise NotAtHub(
                    f"{name} is in no hub that ktd pulls from; name a repository of Hugging Face or ModelScope, "
                    "such as unsloth/DeepSeek-R1-GGUF:IQ1_S"
                )
            wanted = [source_named(source)] if source else self.order()
        elif host in HOSTS:
            wanted = [source_named(source) if source else HOSTS[host]]
        else:
            raise NotAtHub(f"{name.host} is no hub that ktd pulls from; those are {', '.join(HOSTS)}")
        endpoint = OWN_ENDPOINT.get(host) if wanted == [HOSTS.get(host)] else None
        return [self._make(each, endpoint, token if number == 0 else None) for number, each in enumerate(wanted)]

    def named(self, source: str) -> Hub:
        return self._make(source_named(source))

    def _make(self, source: str, endpoint: str | None = None, token: str | None = None) -> Hub:
        make: dict[str, Callable[[str | None, str | None], Hub]] = {
            "huggingface": self._huggingface,
            "modelscope": self._modelscope,
        }
        return make[source](endpoint, token)

    def _huggingface(self, endpoint: str | None, token: str | None) -> Hub:
        configured = self._value("HF_ENDPOINT")
        # A token is for the hub it was made for: a mirror named only by a model's name does not get it.
        own = self._value("HF_TOKEN") if endpoint in (None, configured) else None
        return HuggingFace(_url(endpoint or configured or huggingface.ENDPOINT), token or own)

    def _modelscope(self, endpoint: str | None, token: str | None) -> Hub:
        configured = self._value("MODELSCOPE_ENDPOINT") or self._value("MODELSCOPE_DOMAIN")
        own = self._value("MODELSCOPE_API_TOKEN") if endpoint in (None, configured) else None
        url = _url(endpoint or configured or modelscope.ENDPOINT)
        return ModelScope(url, token or own, config=self.home / "hub")

    def _value(self, name: str) -> str | None:
        return self.environ.get(name, "").strip() or None


def _url(text: str) -> str:
    return (text if "://" in text else f"https://{text}").rstrip("/")
