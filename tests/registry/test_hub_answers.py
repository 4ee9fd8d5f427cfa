"""What a hub says is checked before it is used."""

import hashlib

import pytest
from fake_hub import FakeHub, Repo
from yarl import URL

from ktd.registry.errors import AccessDenied, HubRefused, HubUnreachable, InvalidName, NotAtHub
from ktd.registry.names import ModelName
from ktd.registry.sources.address import check_redirect, headers_for, is_private_host
from ktd.registry.sources.hub import HubFile, Listing, checked_path
from ktd.registry.sources.hubs import Hubs
from ktd.registry.sources.huggingface import HuggingFace
from ktd.registry.sources.modelscope import ModelScope

TRICKS = ["../x", "a/../../x", "/etc/passwd", "a//b", "a\\b", "a\nb", "a\0b", "C:/x", ".", "", "a/./b", "x" * 2000, 7]


@pytest.fixture
def hub():
    with FakeHub() as hub:
        yield hub


@pytest.mark.parametrize("path", TRICKS)
def test_names_that_lead_elsewhere_are_refused(path):
    with pytest.raises(HubRefused):
        checked_path(path)


@pytest.mark.parametrize("path", ["a.gguf", "folder/b-00001-of-00002.gguf", "a b/ü.gguf", "..a/b..gguf"])
def test_names_that_stay_are_taken(path):
    assert checked_path(path) == path


@pytest.mark.parametrize("size", [-1, None, "7", 1.5])
def test_sizes_are_counts(size):
    with pytest.raises(HubRefused):
        HubFile.of("a.gguf", size)


@pytest.mark.parametrize("kind", [HuggingFace, ModelScope])
@pytest.mark.parametrize("path", ["../../escape.gguf", "a\\b.gguf"])
def test_a_listing_with_a_trick_is_refused_whole(hub, kind, path, tmp_path):
    hub.repos["ns/repo"] = Repo({"fine-Q4_K_M.gguf": b"x", path: b"x"})
    with pytest.raises(HubRefused, match="leads elsewhere"):
        adapter(kind, hub.url, tmp_path).listing("ns/repo", None)


@pytest.mark.parametrize("kind", [HuggingFace, ModelScope])
def test_listings_have_sizes_digests_and_bases(hub, kind, tmp_path):
    hub.repos["ns/repo"] = Repo({"q/m-Q4_K_M.gguf": b"weights", "config.json": b"{}"}, base=["up/stream"])
    listing = adapter(kind, hub.url, tmp_path).listing("ns/repo", None)
    weights = next(file for file in listing.files if file.path == "q/m-Q4_K_M.gguf")
    assert (weights.size, weights.sha256) == (7, hashlib.sha256(b"weights").hexdigest())
    assert listing.bases == ("up/stream",)


def test_questions_stay_at_the_hub(hub):
    hub.repos["ns/repo"] = Repo({"a.gguf": b"x"})
    hub.moved = f"{hub.cdn}/api/models/ns/repo"
    with pytest.raises(HubRefused, match="redirects questions about repositories"):
        HuggingFace(hub.url, "secret").listing("ns/repo", None)
    assert {asked.host for asked in hub.asked} == {"hub"}
    hub.moved = "/api/models/ns/repo?moved=1&blobs=1"
    assert HuggingFace(hub.url).listing("ns/repo", None).files


@pytest.mark.parametrize("kind", [HuggingFace, ModelScope])
def test_refusals_are_told_apart(hub, kind, tmp_path):
    hub.repos["ns/gated"] = Repo({}, gated=True)
    hub.repos["ns/private"] = Repo({"a.gguf": b"x"}, token="right")
    with pytest.raises(NotAtHub):
        adapter(kind, hub.url, tmp_path).listing("ns/none", None)
    with pytest.raises(NotAtHub):
        adapter(kind, hub.url, tmp_path).listing("ns/private", None)
    with pytest.raises(AccessDenied):
        adapter(kind, hub.url, tmp_path).listing("ns/gated", None)
    assert adapter(kind, hub.url, tmp_path, "right").listing("ns/private", None).files


@pytest.mark.parametrize("kind", [HuggingFace, ModelScope])
def test_a_hub_that_is_not_there(kind, tmp_path):
    with pytest.raises(HubUnreachable, match="does not answer"):
        adapter(kind, "http://127.0.0.1:9", tmp_path).listing("ns/repo", None)


def adapter(kind, url, folder, token=None):
    return kind(url, token) if kind is HuggingFace else kind(url, token, config=folder / "hub")


def test_credentials_stay_with_their_host():
    headers = {"Authorization": "Bearer x", "Cookie": "m_session_id=x", "Range": "bytes=0-"}
    hub = URL("https://hub.test/a")
    assert headers_for(URL("https://hub.test/b"), hub, headers) == headers
    for elsewhere in ("https://cdn.test/a", "http://hub.test/a", "https://hub.test:8443/a"):
        assert headers_for(URL(elsewhere), hub, headers) == {"Range": "bytes=0-"}


@pytest.mark.parametrize(
    "target", ["http://cdn.test/a", "https://127.0.0.1/a", "https://169.254.169.254/", "https://[::1]/", "https://10.0.0.1",
               "https://localhost/", "https://x.localhost/", "file:///etc/passwd", "https://[fe80::1]/", "https://0.0.0.0/"],
)  # fmt: skip
def test_redirects_into_private_networks_are_refused(target):
    with pytest.raises(HubRefused):
        check_redirect(URL("https://huggingface.co"), URL(target))


def test_redirects_elsewhere_are_followed():
    check_redirect(URL("https://huggingface.co"), URL("https://cdn-lfs.hf.co/x"))
    check_redirect(URL("http://127.0.0.1:80"), URL("http://127.0.0.1:81/x"))
    assert not is_private_host("example.org")


@pytest.mark.parametrize(
    ("name", "environ", "expected"),
    [
        ("ns/repo:q", {}, ["https://huggingface.co", "https://modelscope.cn"]),
        ("ns/repo:q", {"KTD_SOURCE": "ms"}, ["https://modelscope.cn", "https://huggingface.co"]),
        ("ns/repo:q", {"MODELSCOPE_API_TOKEN": "t"}, ["https://modelscope.cn", "https://huggingface.co"]),
        (
            "ns/repo",
            {"MODELSCOPE_API_TOKEN": "t", "HF_TOKEN": "t"},
            ["https://huggingface.co", "https://modelscope.cn"],
        ),
        ("ns/repo", {"HF_ENDPOINT": "https://hf-mirror.com/"}, ["https://hf-mirror.com", "https://modelscope.cn"]),
        (
            "ns/repo",
            {"MODELSCOPE_DOMAIN": "www.modelscope.ai"},
            ["https://www.modelscope.ai", "https://huggingface.co"],
        ),
        ("hf.co/ns/repo", {"KTD_SOURCE": "ms"}, ["https://huggingface.co"]),
        ("huggingface.co/ns/repo", {"HF_ENDPOINT": "https://hf-mirror.com"}, ["https://hf-mirror.com"]),
        ("hf-mirror.com/ns/repo", {}, ["https://hf-mirror.com"]),
        ("modelscope.cn/ns/repo", {}, ["https://modelscope.cn"]),
        ("modelscope.ai/ns/repo", {}, ["https://modelscope.ai"]),
    ],
)
def test_which_hubs_a_name_means(tmp_path, name, environ, expected):
    hubs = Hubs(tmp_path, environ).of(ModelName.parse(name))
    assert [hub.endpoint for hub in hubs] == expected


@pytest.mark.parametrize("name", ["llama3", "example.org/ns/repo:q", "127.0.0.1:5000/ns/repo"])
def test_names_no_hub_can_have(tmp_path, name):
    with pytest.raises(NotAtHub):
        Hubs(tmp_path, {}).of(ModelName.parse(name))


def test_an_unknown_source(tmp_path):
    with pytest.raises(InvalidName, match="unknown source"):
        Hubs(tmp_path, {"KTD_SOURCE": "elsewhere"}).order()


def test_a_token_is_not_for_a_mirror_that_only_a_name_mentions(tmp_path):
    file = HubFile("a.gguf", 1, "a" * 64)
    sent = {}
    for name in ("hf-mirror.com/ns/repo", "hf.co/ns/repo"):
        hub = Hubs(tmp_path, {"HF_TOKEN": "secret"}).of(ModelName.parse(name))[0]
        sent[hub.endpoint] = "Authorization" in hub.address(Listing("ns/repo", "main", (file,)), file).headers
    assert sent == {"https://hf-mirror.com": False, "https://huggingface.co": True}


def test_links_are_refused(hub, tmp_path):
    hub.repos["ns/repo"] = Repo({"fine-Q4_K_M.gguf": b"x", "config.json": b"../../etc/passwd"})
    hub.links.add("config.json")
    with pytest.raises(HubRefused, match=r"lists a symbolic link: 'config\.json'"):
        adapter(ModelScope, hub.url, tmp_path).listing("ns/repo", None)
