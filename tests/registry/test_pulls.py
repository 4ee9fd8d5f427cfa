"""Pulls from both hubs, whatever goes wrong on the way."""

import asyncio
import hashlib
import resource
from collections.abc import Iterator

import huggingface_hub
import pytest
from fake_hub import FakeHub, Fault, Repo
from gguf_writer import STRING, RawTensor, small_model
from pulling import BASE, MODEL, STEM, Pulling, big, r1, received, until

from ktd.registry.errors import (
    AccessDenied,
    BadDownload,
    HubRefused,
    HubUnreachable,
    ImportRefused,
    NoSpace,
    NotAtHub,
    PullError,
)
from ktd.registry.news import Arrived, Said
from ktd.registry.record import ModelRecord
from ktd.registry.sources import asking

BIG = "ns/Big-GGUF:Q8_0"
FILE = "Big-Q8_0.gguf"
MIB = 1 << 20


@pytest.fixture
def hub(tmp_path) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.repos["unsloth/DeepSeek-R1-GGUF"] = r1(tmp_path)
        hub.repos["deepseek-ai/DeepSeek-R1"] = BASE
        hub.repos["ns/Big-GGUF"] = big()
        yield hub


@pytest.fixture
def pulling(home, hub) -> Iterator[Pulling]:
    with Pulling(home, hub) as pulling:
        yield pulling


def whole(pulling: Pulling, record: ModelRecord, repo: str) -> bool:
    """Whether the model's files are those of the hub, in order."""
    theirs = [data for path, data in sorted(pulling.hub.repos[repo].files.items()) if path.endswith(".gguf")]
    return [path.read_bytes() for path in record.files] == theirs


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
async def test_a_split_model_with_its_configuration(pulling, source):
    events = await pulling.events(source=source)
    record = events[-1]
    assert whole(pulling, record, "unsloth/DeepSeek-R1-GGUF")
    assert str(record.name) == MODEL
    assert [path.name for path in record.bundle.iterdir()] == ["config.json"]
    said = [event.status for event in events if isinstance(event, Said)]
    assert said[0] == "pulling manifest"
    assert said[1].startswith("UD-IQ1_S: 1376 B in 3 files from ")
    assert said[2].startswith("fits this machine: about ")
    assert said[3:] == ["verifying sha256 digest", "writing manifest"]
    assert pulling.registry.present(MODEL) == record
    assert (pulling.pulls.unfinished(), pulling.partials()) == ([], {})


async def test_nothing_is_fetched_twice(pulling):
    first = await pulling.pull()
    pulling.hub.asked.clear()
    again = await pulling.pull()
    assert again.files == first.files
    assert pulling.hub.fetched(".gguf") == []
    pulling.registry.delete(MODEL)
    assert not any(path.exists() for path in first.files)
    assert not first.bundle.exists()
    await pulling.pull()
    assert len(pulling.hub.fetched("00002-of-00003.gguf")) == 1


async def test_an_update_fetches_only_what_changed(pulling, hub):
    old = await pulling.pull()
    files = hub.repos["unsloth/DeepSeek-R1-GGUF"].files
    name = f"{STEM}/{STEM}-00002-of-00003.gguf"
    files[name] = files[name][:-1] + b"!"
    hub.asked.clear()
    events = await pulling.events()
    assert {asked.path.rpartition("/")[2] for asked in hub.fetched(".gguf")} == {f"{STEM}-00002-of-00003.gguf"}
    assert Said("removing unused layers") in events
    assert not old.files[1].exists()
    assert whole(pulling, events[-1], "unsloth/DeepSeek-R1-GGUF")


async def test_an_imported_file_is_not_fetched(pulling, hub, tmp_path):
    mine = tmp_path / FILE
    mine.write_bytes(hub.repos["ns/Big-GGUF"].files[FILE])
    pulling.registry.import_files([mine], "mine")
    record = await pulling.pull(BIG)
    assert record.files == (mine,)
    assert hub.fetched(FILE) == []
    digest = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert pulling.registry.journal.origins(f"sha256:{digest}")[0].file.path == FILE


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FILE, times=2, cut_at=2 * MIB),
        Fault(FILE, times=1, cut_at=1),
        Fault(FILE, times=2, status=503),
        Fault(FILE, times=1, status=429, headers={"Retry-After": "0"}),
        Fault(FILE, times=2, status=403),
        Fault(FILE, times=1, change=lambda data: data[: 3 * MIB] + b"?" + data[3 * MIB + 1 :]),
    ],
    ids=["cut", "cut-at-once", "503", "429", "expired-signature", "wrong-bytes"],
)
@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
async def test_faults_that_pass_are_survived(pulling, hub, fault, source):
    hub.faults.append(fault)
    record = await pulling.pull(BIG, source=source)
    assert fault.times == 0
    assert whole(pulling, record, "ns/Big-GGUF")


async def test_it_goes_on_where_the_line_broke(pulling, hub):
    hub.faults += [Fault(FILE, times=1, cut_at=0), Fault(FILE, times=1, cut_at=3 * MIB)]
    await pulling.pull(BIG)
    starts = [int((asked.range or "bytes=0-")[6:].partition("-")[0]) for asked in hub.fetched(FILE)]
    assert max(starts) > MIB
    assert hub.sent < len(hub.repos["ns/Big-GGUF"].files[FILE]) * 2  # once, and the header before


async def test_a_hub_that_knows_no_ranges_begins_anew(pulling, hub):
    hub.faults += [Fault(FILE, times=1, cut_at=3 * MIB), Fault(FILE, times=1, ignore_range=True)]
    assert whole(pulling, await pulling.pull(BIG), "ns/Big-GGUF")


async def test_a_partial_file_that_is_too_long(pulling, hub):
    data = hub.repos["ns/Big-GGUF"].files[FILE]
    staged = pulling.registry.home / "downloads" / f"{hashlib.sha256(data).hexdigest()}.part"
    staged.parent.mkdir()
    staged.write_bytes(data + b"more")
    assert whole(pulling, await pulling.pull(BIG), "ns/Big-GGUF")


async def test_a_link_in_place_of_a_partial_file_is_not_followed(pulling, hub, tmp_path):
    data = hub.repos["ns/Big-GGUF"].files[FILE]
    (pulling.registry.home / "downloads").mkdir()
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    staged = pulling.registry.home / "downloads" / f"{hashlib.sha256(data).hexdigest()}.part"
    staged.symlink_to(precious)
    with pytest.raises(PullError, match="cannot be written"):
        await pulling.pull(BIG)
    assert precious.read_bytes() == b"mine"


async def test_a_partial_file_with_wrong_bytes_is_found_out(pulling, hub):
    data = hub.repos["ns/Big-GGUF"].files[FILE]
    staged = pulling.registry.home / "downloads" / f"{hashlib.sha256(data).hexdigest()}.part"
    staged.parent.mkdir()
    staged.write_bytes(bytes(len(data) // 2))
    assert whole(pulling, await pulling.pull(BIG), "ns/Big-GGUF")


async def test_wrong_bytes_twice_are_refused_with_both_digests(pulling, hub):
    data = hub.repos["ns/Big-GGUF"].files[FILE]
    bad = data[:-1] + bytes([data[-1] ^ 1])
    hub.faults.append(Fault(FILE, times=99, change=lambda _: bad))
    with pytest.raises(BadDownload) as caught:
        await pulling.pull(BIG)
    for digest in (hashlib.sha256(data).hexdigest(), hashlib.sha256(bad).hexdigest()):
        assert digest in str(caught.value)
    assert pulling.registry.list() == []
    assert list((pulling.registry.home / "blobs").iterdir()) == []
    [(unfinished, here)] = pulling.pulls.unfinished()
    assert (unfinished.state, here) == ("failed", 0)
    hub.faults.clear()
    assert whole(pulling, await pulling.pull(BIG), "ns/Big-GGUF")


async def test_a_file_that_changes_after_it_was_listed(pulling, hub):
    hub.faults.append(Fault(FILE, times=99, headers={"X-Linked-Etag": f'"{"1" * 64}"'}))
    with pytest.raises(HubRefused, match="has changed at the hub since it was listed"):
        await pulling.pull(BIG, source="huggingface")


async def test_a_hub_that_breaks_off_for_good_keeps_what_came(pulling, hub):
    hub.faults.append(Fault(FILE, times=99, cut_at=3 * MIB))
    with pytest.raises(HubUnreachable, match="broke off 3 times in a row"):
        await pulling.pull(BIG, source="huggingface")
    assert list(pulling.partials().values()) == [3 * MIB]
    [(unfinished, here)] = pulling.pulls.unfinished()
    assert (unfinished.state, unfinished.total > here, here) == ("failed", True, 3 * MIB)


async def test_the_other_hub_takes_over_in_the_middle(pulling, hub):
    """Hugging Face lists and begins, then breaks off; the rest of the same bytes comes from ModelScope."""
    hub.faults += [Fault(FILE, times=1, cut_at=MIB), Fault(FILE, times=2, status=503)]
    record = await pulling.pull(BIG)
    assert int(hub.fetched(FILE)[-1].range.removeprefix("bytes=").removesuffix("-")) > 0
    assert whole(pulling, record, "ns/Big-GGUF")
    origins = pulling.registry.journal.origins(f"sha256:{record.files[0].name[7:]}")
    assert [origin.source for origin in origins if origin.checksums] == ["modelscope"]


async def test_the_other_hub_when_the_first_is_down(pulling, hub):
    hub.down.add("huggingface")
    events = await pulling.events()
    assert any("from ModelScope" in event.status for event in events if isinstance(event, Said))


async def test_the_other_hub_when_the_first_lists_files_that_it_cannot_send(pulling, hub):
    hub.redirect = "http://127.0.0.1:9/nothing/listens/here"
    events = await pulling.events(BIG)
    assert any("from ModelScope" in event.status for event in events if isinstance(event, Said))
    assert whole(pulling, events[-1], "ns/Big-GGUF")


async def test_the_other_hub_when_the_first_is_silent(pulling, hub, monkeypatch):
    """It is asked meanwhile; nobody waits for the silent one's time to run out."""
    monkeypatch.setattr(asking, "HESITATION", 0.05)
    hub.silent.add("huggingface")
    events = await pulling.events()
    assert any("from ModelScope" in event.status for event in events if isinstance(event, Said))


async def test_what_no_hub_has(pulling, hub):
    hub.repos["ns/gated"] = Repo({}, gated=True)
    with pytest.raises(NotAtHub):
        await pulling.pull("ns/nothing:Q4_0")
    with pytest.raises(NotAtHub):
        await pulling.pull("llama3")
    with pytest.raises(AccessDenied, match="gated"):
        await pulling.pull("hf.co/ns/gated:Q4_0")
    assert pulling.pulls.unfinished() == []


async def test_private_repositories_open_with_a_token_that_goes_nowhere_else(pulling, hub):
    hub.repos["ns/Big-GGUF"].token = "mine"
    with pytest.raises(NotAtHub):
        await pulling.pull("hf.co/ns/Big-GGUF:Q8_0")
    await pulling.pull("hf.co/ns/Big-GGUF:Q8_0", token="mine")
    assert any(asked.headers.get("Authorization") == "Bearer mine" for asked in hub.asked)
    for asked in hub.asked:
        if asked.host == "cdn":
            assert not {"Authorization", "Cookie"} & set(asked.headers)


async def test_an_architecture_that_cannot_run_is_refused_before_the_download(pulling, hub):
    other = small_model("llama").tensor(RawTensor("blk.0.big.weight", (MIB,)))
    hub.repos["ns/Other-GGUF"] = Repo({"Other-Q8_0.gguf": other.build()})
    with pytest.raises(ImportRefused, match="architecture 'llama' is not supported"):
        await pulling.pull("ns/Other-GGUF:Q8_0")
    assert pulling.partials() == {}


async def test_a_pre_tokenizer_that_is_unknown_is_refused_before_the_download(pulling, hub):
    odd = small_model().key("tokenizer.ggml.pre", STRING, "klingon").tensor(RawTensor("blk.0.big.weight", (MIB,)))
    hub.repos["ns/Odd-GGUF"] = Repo({"Odd-Q8_0.gguf": odd.build()})
    with pytest.raises(ImportRefused, match=r"pre-tokenizer 'klingon' is not supported \(supported: deepseek-v3\)"):
        await pulling.pull("ns/Odd-GGUF:Q8_0")
    assert pulling.partials() == {}


async def test_a_model_too_large_for_the_disk_is_refused_before_its_first_byte(pulling, hub):
    size = 10**15
    hub.repos["ns/Big-GGUF"].sizes[FILE] = size
    with pytest.raises(NoSpace, match=rf"space in .*: 1000 TB \({size} bytes\) .* bytes\) are free"):
        await pulling.pull(BIG, source="huggingface")
    assert (pulling.partials(), hub.fetched(FILE)) == ({}, [])


async def test_a_disk_that_fills_up_loses_nothing(pulling, hub):
    """The kernel's limit on the size of files stands in for the end of the disk."""
    hub.repos["ns/Big-GGUF"] = big(mib=8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * MIB, hard))
    try:
        with pytest.raises(NoSpace, match="is full"):
            await pulling.pull(BIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(pulling.partials().values()) == [4 * MIB]
    assert whole(pulling, await pulling.pull(BIG), "ns/Big-GGUF")
    assert f"bytes={4 * MIB}-" in [asked.range for asked in hub.fetched(FILE)]


async def test_two_clients_share_one_download_and_the_last_stops_it(pulling, hub):
    hold = Fault(FILE, times=99, hold_at=2 * MIB)
    hub.faults.append(hold)
    first = asyncio.create_task(pulling.leave_when(received(MIB), BIG))
    second = asyncio.create_task(pulling.leave_when(lambda event: isinstance(event, ModelRecord), BIG))
    await first
    [(unfinished, _)] = pulling.pulls.unfinished()
    assert unfinished.state == "running"
    assert len(hub.fetched(FILE)) == 2  # the header, and one download for both
    second.cancel()
    await asyncio.wait([second])
    [(unfinished, here)] = pulling.pulls.unfinished()
    assert (unfinished.state, MIB <= here <= 2 * MIB) == ("stopped", True)
    hold.go.set()
    assert whole(pulling, await pulling.pull(BIG), "ns/Big-GGUF")


async def test_shards_come_in_parallel(pulling, hub):
    holds = [Fault(f"0000{number}-of-00003.gguf", times=1, hold_at=16) for number in (2, 3)]
    hub.faults += holds
    task = asyncio.create_task(pulling.pull())
    await until(lambda: all(fault.times == 0 for fault in holds))
    for fault in holds:
        fault.go.set()
    await task


async def test_the_rate_is_kept(home, hub):
    with Pulling(home, hub, rate=8 * MIB) as pulling:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await pulling.pull(BIG)
        assert loop.time() - began > 4 / 8  # never faster than the rate, by construction


async def test_a_model_that_no_longer_fits_its_configuration_does_without(pulling, hub):
    hub.repos["deepseek-ai/DeepSeek-R1"] = Repo({"config.json": b'{"hidden_size": 7168}'})
    events = await pulling.events()
    assert events[-1].bundle is None
    assert any("configuration left out" in event.status for event in events if isinstance(event, Said))


async def test_progress_never_shrinks(pulling, hub):
    hub.faults.append(Fault(FILE, times=1, cut_at=2 * MIB))
    counts = [event.received for event in await pulling.events(BIG) if isinstance(event, Arrived)]
    assert counts == sorted(counts)
    assert counts[-1] == len(hub.repos["ns/Big-GGUF"].files[FILE])


async def test_include_chooses_the_files(pulling):
    record = await pulling.pull("unsloth/DeepSeek-R1-GGUF", include=("**IQ1_S**",))
    assert len(record.files) == 3


@pytest.fixture
def proxied(home, hub, monkeypatch) -> Iterator[Pulling]:
    """Pulls from http://hub.test, a public hub as far as anyone can tell: the stand-in is the proxy on the way."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, hub.url)
    huggingface_hub.close_session()  # it has read the environment
    with Pulling(home, hub, {"HF_ENDPOINT": "http://hub.test"}) as pulling:
        yield pulling
    huggingface_hub.close_session()


async def test_a_public_hub_may_not_redirect_into_this_machine(proxied, hub):
    with pytest.raises(HubRefused, match=r"hub\.test redirects to the private address 127\.0\.0\.1"):
        await proxied.pull(BIG, source="huggingface")
    assert {asked.headers["Host"] for asked in hub.asked} == {"hub.test"}
    assert hub.fetched(FILE) == []


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest", "http://[fd00::1]/x", "ftp://example.org/x"])
async def test_redirects_that_lead_nowhere_good(proxied, hub, target):
    hub.redirect = target
    with pytest.raises(HubRefused, match="redirects to"):
        await proxied.pull(BIG, source="huggingface")


async def test_endless_redirects(pulling, hub):
    hub.redirect = f"{hub.url}/ns/Big-GGUF/resolve/main/{FILE}"
    with pytest.raises(HubRefused, match="more than 5 times"):
        await pulling.pull(BIG, source="huggingface")
