"""What brings models, over HTTP: pull, create, blobs, push, and ktd's own routes."""

import hashlib
import json
from typing import Any

import ollama
import pytest
from demo import F16
from gguf_writer import small_model
from pulling import MODEL, STEM
from until import until

from ktd.registry.errors import ModelNotFound

BIG = "ns/Big-GGUF:Q8_0"


async def lines(served: Any, path: str, body: Any) -> list[Any]:
    async with served.http.post(served.url + path, json=body) as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "application/x-ndjson"
        return [json.loads(line) async for line in reply.content]


async def test_pull_speaks_ollamas_lines(served, hub):
    found = await lines(served, "/api/pull", {"model": MODEL})
    assert found[0] == {"status": "pulling manifest"}
    assert found[-3:] == [{"status": "verifying sha256 digest"}, {"status": "writing manifest"}, {"status": "success"}]
    last = {line["digest"]: line for line in found if "digest" in line}
    data = hub.repos["unsloth/DeepSeek-R1-GGUF"].files[f"{STEM}/{STEM}-00001-of-00003.gguf"]
    digest = hashlib.sha256(data).hexdigest()
    assert last[f"sha256:{digest}"] == {
        "status": f"pulling {digest[:12]}",
        "digest": f"sha256:{digest}",
        "total": len(data),
        "completed": len(data),
        "file": f"{STEM}/{STEM}-00001-of-00003.gguf",
    }
    assert len(last) == 3


async def test_the_official_client_pulls(served):
    states = [part async for part in await served.ollama.pull(MODEL, stream=True)]
    assert states[-1].status == "success"
    assert (await served.ollama.pull(BIG)).status == "success"
    names = {model.model for model in (await served.ollama.list()).models}
    assert names == {MODEL, BIG, "demo:latest"}


@pytest.mark.parametrize("name", ["", "a b", "a/b/c/d", "ns/repo:"])
async def test_bad_names(served, name):
    assert await served.post("/api/pull", {"model": name}) == (400, {"error": "invalid model name"})


async def test_an_unknown_model_is_an_error_line(served):
    found = await lines(served, "/api/pull", {"name": "ns/nothing:Q4_0"})
    assert found[0] == {"status": "pulling manifest"}
    assert found[1]["error"].startswith("pull model manifest: file does not exist: ")
    assert len(found) == 2
    status, body = await served.post("/api/pull", {"model": "ns/nothing:Q4_0", "stream": False})
    assert (status, "file does not exist" in body["error"]) == (500, True)
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        await served.ollama.pull("nothing")


async def test_push_says_that_it_is_not_done(served):
    status, body = await served.post("/api/push", {"model": "demo"})
    assert (status, "does not push" in body["error"]) == (501, True)


async def test_blobs(served):
    data = small_model().build()
    digest = hashlib.sha256(data).hexdigest()
    url = f"{served.url}/api/blobs/sha256:{digest}"
    for expected in (404, 404):
        async with served.http.head(url) as reply:
            assert reply.status == expected
    async with served.http.post(url, data=b"something else") as reply:
        assert reply.status == 400
        assert (await reply.json())["error"].startswith(f'digest mismatch, expected "sha256:{digest}", got "sha256:')
    assert list((served.settings.home / "staging").iterdir()) == []
    for expected in (201, 200):
        async with served.http.post(url, data=data) as reply:
            assert reply.status == expected
    async with served.http.head(url.replace("sha256:", "sha256-")) as reply:
        assert reply.status == 200


@pytest.mark.parametrize("digest", ["sha256:abc", "md5:" + "0" * 32, "sha256:" + "g" * 64, "sha256:" + "0" * 64 + "%0a",
                                    "sha256:..%2f..%2fetc%2fpasswd"])  # fmt: skip
async def test_bad_digests(served, digest):
    async with served.http.post(f"{served.url}/api/blobs/{digest}", data=b"x") as reply:
        assert reply.status in (400, 404)


async def test_create_from_a_model(served):
    parts = await served.ollama.create(
        model="pirate",
        from_="demo",
        system="You are a pirate.",
        parameters={"temperature": 0.25, "num_ctx": 1024, "stop": ["a", "b"]},
        messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "arr"}],
        license="mine",
        stream=True,
    )
    states = [part.status async for part in parts]
    assert states[-2:] == ["writing manifest", "success"]
    shown = await served.ollama.show("pirate")
    assert "SYSTEM" in shown.modelfile and 'MESSAGE assistant """arr"""' in shown.modelfile
    assert "PARAMETER num_ctx 1024" in shown.modelfile
    record = served.registry.find("pirate")
    assert record.files == served.registry.find("demo").files
    assert record.digest != served.registry.find("demo").digest
    await served.ollama.chat("pirate", [{"role": "user", "content": "hello"}])
    text = served.engine.prompts[-1].text
    assert text.index("pirate") < text.index("arr") < text.index("hello")
    again = await lines(served, "/api/create", {"model": "copy", "modelfile": shown.modelfile})
    assert again[-1] == {"status": "success"}
    assert served.registry.find("copy").digest == record.digest


async def test_create_from_files(served):
    data = small_model().build()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    async with served.http.post(f"{served.url}/api/blobs/{digest}", data=data) as reply:
        assert reply.status == 201
    found = await lines(served, "/api/create", {"model": "mine", "files": {"model.gguf": digest}})
    assert [line["status"] for line in found] == [
        "parsing GGUF",
        f"using existing layer {digest}",
        "writing manifest",
        "success",
    ]
    assert served.registry.present("mine").files[0].read_bytes() == data


async def test_create_pulls_what_is_not_here(served):
    found = await lines(served, "/api/create", {"model": "r1", "from": MODEL, "system": "s"})
    statuses = [line.get("status") for line in found]
    assert statuses[0] == "pulling manifest"
    assert statuses[-1] == "success"
    assert served.registry.find("r1").system == "s"


async def test_create_quantizes(served):
    served.registry.import_files([F16], "full")
    found = await lines(served, "/api/create", {"model": "small", "from": "full", "quantize": "q8_0", "system": "s"})
    counted = [line for line in found if line["status"] == "quantizing F16 model to Q8_0"]
    done = [line.get("completed", 0) for line in counted]
    assert {(line["digest"], line["total"]) for line in counted} == {("0" * 19, counted[0]["total"])}
    assert done == sorted(done) and (done[0], done[-1]) == (0, counted[0]["total"])
    assert found[-1] == {"status": "success"}
    small, full = served.registry.present("small"), served.registry.present("full")
    assert (small.details.quantization_level, small.system) == ("Q8_0", "s")
    assert small.size < 0.6 * full.size
    assert small.template == full.template
    assert small.files[0].name == f"sha256-{hashlib.sha256(small.files[0].read_bytes()).hexdigest()}"
    status, body = await served.post(
        "/api/create", {"model": "x", "from": "small", "quantize": "q4_0", "stream": False}
    )
    assert (status, body["error"]) == (400, "quantization is only supported for F16, BF16 and F32 models")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"model": "a b", "from": "demo"}, "invalid model name"),
        ({"model": "x"}, "neither 'from' or 'files' was specified"),
        ({"model": "x", "files": {"/etc/passwd": "sha256:" + "0" * 64}}, "file path must be relative"),
        ({"model": "x", "files": {"../a": "sha256:" + "0" * 64}}, "file path must be relative"),
        ({"model": "x", "files": {"a": "sha256:1"}}, "invalid digest format"),
        ({"model": "x", "from": "demo", "template": '{{ template "a" }}'}, "line 1: {{template}} is not supported"),
        ({"model": "x", "from": "demo", "parameters": {"nonsense": 1}}, "unknown parameter 'nonsense'"),
        ({"model": "x", "from": "demo", "parameters": {"top_p": 7}}, "top_p"),
        (
            {"model": "x", "from": "demo", "quantize": "IQ2_XS"},
            "unsupported quantization type IQ2_XS: this version makes Q2_K, Q3_K_S,",
        ),
        ({"model": "x", "from": "demo", "adapters": {"a": "b"}}, "adapters"),
        ({"model": "x", "from": "demo", "messages": [{"role": "king", "content": "x"}]}, "message role"),
        ({"model": "x", "modelfile": "SYSTEM hi"}, "no FROM line"),
        ({"model": "x", "modelfile": "FROM demo\nNONSENSE 1"}, "(line 2): command must be one of"),
    ],
)
async def test_what_cannot_be_created(served, body, error):
    status, answer = await served.post("/api/create", body)
    assert (status, error in answer["error"]) == (400, True), answer


async def test_quants_search_and_downloads(served, hub):
    found = await served.get("/api/quants?model=unsloth/DeepSeek-R1-GGUF")
    [row] = found["quants"]
    weights = 32 * 3 + 32 + 32 * 2  # of `small_model`
    assert (row["quant"], row["size"], row["complete"]) == ("UD-IQ1_S", 1376, True)
    assert row["bits"] == pytest.approx(8 * 1376 / weights)
    assert (found["architecture"], found["source"]) == ("deepseek2", "huggingface")
    searched = await served.get("/api/search?query=deepseek")
    assert {repo["repo"] for repo in searched["repos"]} == {"unsloth/DeepSeek-R1-GGUF", "deepseek-ai/DeepSeek-R1"}
    assert ({repo["source"] for repo in searched["repos"]}, searched["problems"]) == ({"huggingface", "modelscope"}, [])
    assert found["machine"]["ram"] > 0 and row["verdict"] in ("fits", "too large")
    assert await served.get("/api/downloads") == {"downloads": [], "rate": 0, "connections": 4}
    assert (await served.post("/api/downloads", {"model": "x", "action": "pause"}))[0] == 404
    assert (await served.post("/api/downloads", {"model": "x", "action": "eat"}))[0] == 400


async def test_limits_change_while_the_daemon_runs(served):
    assert (await served.post("/api/downloads", {"action": "limit", "rate": "20M", "connections": 7}))[0] == 200
    assert await served.get("/api/downloads") == {"downloads": [], "rate": 20_000_000, "connections": 7}
    for bad in ({"rate": "fast"}, {"rate": -1}, {"connections": 0}, {"rate": 1, "connections": 65}):
        status, body = await served.post("/api/downloads", {"action": "limit"} | bad)
        assert (status, next(iter(bad)) in body["error"] or "connections" in body["error"]) == (400, True)
    assert (await served.post("/api/downloads", {"action": "limit", "rate": 0}))[0] == 200
    assert await served.get("/api/downloads") == {"downloads": [], "rate": 0, "connections": 7}


async def test_verify_and_prune(served):
    await lines(served, "/api/pull", {"model": MODEL})
    found = await lines(served, "/api/verify", {"model": MODEL})
    assert found[-1] == {"status": "success"}
    path = served.registry.find(MODEL).files[2]
    path.write_bytes(bytes(path.stat().st_size))
    found = await lines(served, "/api/verify", {})
    assert "of 4 files are damaged" in found[-1]["error"]
    found = await lines(served, "/api/verify", {"repair": True})
    assert found[-1] == {"status": "success"}
    assert (await served.post("/api/verify", {"model": "nothing"}))[0] == 404
    assert await served.post("/api/prune", {}) == (200, {"freed": 0, "files": 0})


async def test_many_models_are_listed_at_once(served, hub):
    """Not a measurement: 200 names, their digests and dates true."""
    for number in range(200):
        served.registry.copy("demo", f"model-{number}")
    models = (await served.get("/api/tags"))["models"]
    assert len(models) == 201
    assert {len(model["digest"]) for model in models} == {64}


async def test_a_quantizing_that_fails_changes_no_model(served):
    served.registry.import_files([F16], "full")
    await lines(served, "/api/create", {"model": "mine", "from": "full", "system": "kept"})
    before = served.registry.find("mine")
    data = small_model().build()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    async with served.http.post(f"{served.url}/api/blobs/{digest}", data=data) as reply:
        assert reply.status == 201
    await lines(served, "/api/create", {"model": "small", "from": "full", "quantize": "q8_0"})
    status, _ = await served.post(
        "/api/create", {"model": "mine", "from": "small", "quantize": "q4_0", "stream": False}
    )
    assert status == 400
    assert served.registry.find("mine") == before


async def test_a_quantizing_ends_when_its_client_leaves(served):
    served.registry.import_files([F16], "full")
    request = served.http.post(f"{served.url}/api/create", json={"model": "late", "from": "full", "quantize": "q8_0"})
    async with request as reply:
        await reply.content.readline()
    await until(lambda: not list((served.settings.home / "staging").iterdir()))
    with pytest.raises(ModelNotFound):
        served.registry.find("late")
    assert list((served.settings.home / "blobs").iterdir()) == []
