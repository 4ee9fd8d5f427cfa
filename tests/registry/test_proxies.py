"""The environment's proxies: a real one on loopback, through the hubs' real clients and ktd's own transfers."""

import json
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from daemon_process import DaemonProcess
from fake_hub import FakeHub
from forward_proxy import ForwardProxy
from pulling import BASE, MODEL, Pulling, r1
from yarl import URL

from ktd.registry.errors import HubUnreachable
from ktd.registry.sources.address import trusted_hosts
from ktd.registry.sources.proxies import proxy_for

CERTIFICATE = Path(__file__).parents[1] / "support" / "hub.pem"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(params=["http", "https"])
def hub(request, tmp_path) -> Iterator[FakeHub]:
    """At hub.test, and its files at cdn.test, as far as anyone but the proxy can tell."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with FakeHub(context if request.param == "https" else None) as hub:
        hub.repos["unsloth/DeepSeek-R1-GGUF"] = r1(tmp_path)
        hub.repos["deepseek-ai/DeepSeek-R1"] = BASE
        yield hub


@pytest.fixture
def proxy(hub) -> Iterator[ForwardProxy]:
    scheme = URL(hub.url).scheme
    port = 443 if scheme == "https" else 80
    with ForwardProxy({f"hub.test:{port}": hub.url, f"cdn.test:{port}": hub.cdn}) as proxy:
        hub.url, hub.cdn = f"{scheme}://hub.test", f"{scheme}://cdn.test"
        yield proxy


@pytest.fixture
def environ(monkeypatch) -> Iterator[pytest.MonkeyPatch]:
    """Nothing about proxies but what a test sets."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name.lower(), "")  # which is restored afterwards, whatever has been put there
        monkeypatch.delenv(name.lower())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)  # read before ktd could say so
    huggingface_hub.close_session()  # it has read the environment
    yield monkeypatch
    huggingface_hub.close_session()


def test_all_that_a_daemon_asks_of_hubs_goes_through_them(tmp_path, hub, proxy):
    """Tunnels for https, plain requests for http; the proxy's password stays with it, the hub's token with the hub."""
    trust = {"SSL_CERT_FILE": str(CERTIFICATE), "REQUESTS_CA_BUNDLE": str(CERTIFICATE)}
    hubs = {"HF_ENDPOINT": hub.url, "MODELSCOPE_ENDPOINT": hub.url, "HF_TOKEN": "secret"}
    daemon = DaemonProcess(tmp_path / "home", **trust, **hubs, HTTP_PROXY=proxy.url, HTTPS_PROXY=proxy.url)
    url = daemon.url()
    for source in ("huggingface", "modelscope"):
        request = urllib.request.Request(f"{url}/api/pull", json.dumps({"model": MODEL, "source": source}).encode())
        with urllib.request.urlopen(request) as reply:
            assert [json.loads(line) for line in reply][-1] == {"status": "success"}
        clear(url)
    with urllib.request.urlopen(f"{url}/api/search?query=deepseek") as reply:
        assert json.loads(reply.read())["problems"] == []
    daemon.process.terminate()
    assert daemon.end()[0] == 0
    if hub.url.startswith("https"):
        assert {("CONNECT", "hub.test:443"), ("CONNECT", "cdn.test:443")} == set(proxy.asked)
    else:
        assert {method for method, _ in proxy.asked} == {"GET"}
        assert len(proxy.asked) == len(hub.asked)
        assert {URL(target).host for _, target in proxy.asked} == {"hub.test", "cdn.test"}
    assert any(asked.headers.get("Authorization") == "Bearer secret" for asked in hub.asked)
    for asked in hub.asked:
        assert "Proxy-Authorization" not in asked.headers
        assert asked.host == "hub" or not {"Authorization", "Cookie"} & set(asked.headers)


def clear(url: str) -> None:
    request = urllib.request.Request(f"{url}/api/delete", json.dumps({"model": MODEL}).encode(), method="DELETE")
    urllib.request.urlopen(request).close()


@pytest.mark.parametrize("hub", ["http"], indirect=True)
@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
async def test_this_machines_own_hubs_are_never_proxied(home, hub, environ, source):
    with ForwardProxy({}) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            environ.setenv(name, proxy.url)
        with Pulling(home, hub) as pulling:
            assert len((await pulling.pull(source=source)).files) == 3
        assert (proxy.asked, proxy.refused) == ([], 0)


@pytest.mark.parametrize("hub", ["http"], indirect=True)
@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
async def test_no_proxy_is_heeded(home, hub, proxy, environ, source):
    """Nobody but the proxy knows hub.test, so that who does not ask it finds nothing."""
    environ.setenv("HTTP_PROXY", proxy.url)
    environ.setenv("NO_PROXY", "example.org,hub.test")
    with Pulling(home, hub) as pulling, pytest.raises(HubUnreachable, match="does not answer"):
        await pulling.pull(source=source)
    assert (proxy.asked, proxy.refused) == ([], 0)


@pytest.mark.parametrize("hub", ["http"], indirect=True)
async def test_a_private_proxy_may_be_named_without_a_scheme(home, hub, proxy, environ):
    environ.setenv("HTTP_PROXY", f"user:pass@localhost:{URL(proxy.url).port}")
    with Pulling(home, hub) as pulling:
        assert len((await pulling.pull(source="huggingface")).files) == 3
    assert len(proxy.asked) == len(hub.asked)


@pytest.mark.parametrize("broken", ["http://user:secret@proxy:abc", "user:secret@proxy:abc", "http://"])
def test_a_proxy_without_an_address_is_told_of(environ, broken):
    environ.setenv("HTTPS_PROXY", broken)
    for ask in (lambda: proxy_for(URL("https://hub.test/x")), lambda: trusted_hosts("https://hub.test")):
        with pytest.raises(HubUnreachable, match=r"HTTPS_PROXY is no address of a proxy") as caught:
            ask()
        assert "secret" not in str(caught.value)
    assert proxy_for(URL("https://localhost/x")) is None


def test_who_may_have_a_private_address(environ):
    environ.setenv("HTTPS_PROXY", "Proxy.corp:3128")
    environ.setenv("NO_PROXY", "localhost,127.0.0.1,::1")
    assert trusted_hosts("https://hub.test") == {"hub.test", "proxy.corp"}


def test_which_proxy_leads_to_an_address(environ):
    environ.setenv("HTTP_PROXY", "proxy.test:3128")
    environ.setenv("HTTPS_PROXY", "http://user:pass@proxy.test:8080")
    environ.setenv("NO_PROXY", ".inside.test,cdn.test")
    assert proxy_for(URL("http://hub.test/x")) == URL("http://proxy.test:3128")
    assert proxy_for(URL("https://hub.test/x")) == URL("http://user:pass@proxy.test:8080")
    for spared in ("cdn.test", "a.inside.test", "localhost", "127.0.0.1", "127.8.9.1", "[::1]", "box.localhost"):
        assert proxy_for(URL(f"https://{spared}/x")) is None
    environ.setenv("HTTPS_PROXY", "socks5://proxy.test:1080")
    with pytest.raises(HubUnreachable, match=r"hub\.test cannot be reached by a proxy of the kind socks5"):
        proxy_for(URL("https://hub.test/x"))
