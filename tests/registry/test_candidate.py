"""What can become a model, and how the rest is refused."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from gguf_writer import STRING, RawGguf, small_model, write_shards

from ktd.registry.errors import ImportCancelled, ImportRefused, InvalidName
from ktd.registry.store import Registry
from ktd.registry.supported import Supported


def refused(registry, *paths, match):
    with pytest.raises(ImportRefused, match=match):
        registry.import_files(paths)
    assert registry.list() == []


def refused_too(registry, *paths, match):
    """Refused, whatever is there already."""
    with pytest.raises(ImportRefused, match=match):
        registry.import_files(paths)


def test_not_a_model(registry, tmp_path):
    text = tmp_path / "notes.gguf"
    text.write_text("not a model at all")
    refused(registry, text, match=r"notes\.gguf: is not a GGUF file: it starts with b'not '")
    refused(registry, tmp_path / "absent.gguf", match=r"absent\.gguf does not exist")
    refused(registry, match="no file was given")
    refused(registry, tmp_path / ("n" * 300), match="cannot be read: File name too long")
    refused(registry, "nul\0byte.gguf", match="does not exist")
    os.mkfifo(tmp_path / "pipe.gguf")
    refused(registry, tmp_path / "pipe.gguf", match="is not a regular file")
    refused(registry, "/dev/zero", match="is not a regular file")


def test_truncated(registry, weights):
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    refused(registry, weights, match=r"Small-Q8_0\.gguf: tensor .* truncated or damaged")
    weights.write_bytes(whole[:300])
    refused(registry, weights, match=r"Small-Q8_0\.gguf: .* truncated or damaged")


def test_bit_flipped_header(registry, weights):
    whole = bytearray(weights.read_bytes())
    whole[whole.index(b"token_embd.weight") - 8] ^= 0x80  # the length of the name
    weights.write_bytes(whole)
    refused(registry, weights, match=r"Small-Q8_0\.gguf: length of name of tensor 0 is 145, over the limit")


def test_unsupported_kinds(registry, tmp_path, home):
    llama = small_model("llama").write(tmp_path / "llama.gguf")
    refused(registry, llama, match=r"architecture 'llama' is not supported \(supported: deepseek2\)")
    adapter = small_model().key("general.type", STRING, "adapter").write(tmp_path / "lora.gguf")
    refused(registry, adapter, match="is not a model but of type 'adapter'")
    odd = small_model().key("tokenizer.ggml.pre", STRING, "klingon").write(tmp_path / "odd.gguf")
    refused(registry, odd, match=r"odd\.gguf: pre-tokenizer 'klingon' is not supported \(supported: deepseek-v3\)")
    old = replace(small_model(), keys=[key for key in small_model().keys if key[0] != "tokenizer.ggml.pre"])
    refused(registry, old.write(tmp_path / "old.gguf"), match="the pre-tokenizer is not named")
    vocabulary = RawGguf(keys=small_model().keys).write(tmp_path / "vocab.gguf")
    refused(registry, vocabulary, match="holds no weights")
    nameless = RawGguf(tensors=small_model().tensors).write(tmp_path / "nameless.gguf")
    refused(registry, nameless, match=r"'general\.architecture' is missing")
    with Registry.open(home) as anything:
        assert anything.import_files([llama]).details.family == "llama"


def test_shards_stay_shards(registry, tmp_path):
    shards = write_shards(tmp_path / "R1", 4, prefix="R1-UD-IQ1_S")
    for given in ([shards[2]], shards, shards[::-1], [tmp_path / "R1"], [tmp_path]):
        record = registry.import_files(given)
        assert record.files == tuple(shards)
        assert str(record.name) == "R1-UD-IQ1_S:latest"
        assert record.size == sum(path.stat().st_size for path in shards)


def test_shards_without_names(registry, tmp_path):
    shards = [path.rename(tmp_path / f"sha256-{9 - index}") for index, path in enumerate(write_shards(tmp_path, 3))]
    record = registry.import_files([shards[1], shards[2], shards[0]], name="r1")
    assert record.files == tuple(shards)


def test_missing_shard_is_named(registry, tmp_path):
    shards = write_shards(tmp_path, 3)
    shards[1].unlink()
    for given in (shards[0], tmp_path):
        refused(registry, given, match=r"model-00002-of-00003\.gguf")
    refused(registry, shards[0], shards[2], match=r"model-00002-of-00003\.gguf\) is missing")


def test_one_model_at_a_time(registry, tmp_path):
    one, two = (small_model().write(tmp_path / f"{name}.gguf") for name in ("one", "two"))
    refused(registry, tmp_path, match=r"several models, import them one at a time: one\.gguf, two\.gguf")
    refused(registry, one, two, match="several models")
    assert registry.import_files([one, one]).files == (one,)


def linked(target: Path, link: Path) -> Path:
    """A relative link, as hubs' caches have them."""
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(target, link.parent))
    return link


def test_hugging_faces_cache(registry, tmp_path):
    """Snapshots of links into blobs; of several revisions the one that refs/main names, with its configuration."""
    repo = tmp_path / "hub" / "models--unsloth--DeepSeek-R1-GGUF"
    shards = write_shards(repo / "blobs", 3, "DeepSeek-R1-UD-IQ1_S")
    blobs = {
        shard.name: shard.rename(shard.with_name(hashlib.sha256(shard.read_bytes()).hexdigest())) for shard in shards
    }
    (repo / "blobs" / "config").write_text('{"hidden_size": 32}')
    for revision in ("0123abc", "4567def"):
        snapshot = repo / "snapshots" / revision
        links = [linked(blob, snapshot / "DeepSeek-R1-UD-IQ1_S" / name) for name, blob in blobs.items()]
        linked(repo / "blobs" / "config", snapshot / "config.json")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("4567def")
    for given in (repo, snapshot, links[0].parent, links[1]):
        record = registry.import_files([given])
        assert record.files == tuple(links)
        assert str(record.name) == "DeepSeek-R1-UD-IQ1_S:latest"
    assert registry.import_files([repo]).bundle == snapshot
    (repo / "refs" / "main").write_text("../../../elsewhere")
    refused_too(registry, repo, match="several models")


def test_lm_studios_folders(registry, tmp_path):
    model = tmp_path / ".lmstudio" / "models" / "unsloth" / "DeepSeek-V2-Lite-GGUF"
    model.mkdir(parents=True)
    file = small_model().write(model / "DeepSeek-V2-Lite-Q4_K_M.gguf")
    small_model("clip").write(model / "mmproj-model-f16.gguf")
    for given in (model, file, model.parent):
        assert registry.import_files([given]).files == (file,)


def test_folders_of_modelscope_download(registry, tmp_path):
    repo = tmp_path / "unsloth" / "DeepSeek-R1-GGUF"
    shards = write_shards(repo / "UD-IQ1_S", 3, "DeepSeek-R1-UD-IQ1_S")
    (repo / "configuration.json").write_text("{}")
    (repo / "config.json").write_text('{"hidden_size": 32}')
    (repo / ".msc").write_bytes(b"")
    (repo / "._____temp").mkdir()
    (repo / "._____temp" / "DeepSeek-R1-Q4_K_M-00001-of-00009.gguf").write_bytes(b"half of it")
    record = registry.import_files([repo])
    assert (record.files, record.bundle) == (tuple(shards), repo)


OWN = "{{ messages[0].content }}"
GO = b"{{ if .System }}{{ .System }} {{ end }}{{ range .Tools }}{{ . }}{{ end }}{{ .Prompt }}: {{ .Response }}"


def ollama_store(folder: Path, template: bytes = GO, kind: str = "template", **config: str) -> Path:
    """A store as Ollama's own; returns the manifest of its one model."""
    layers = []

    def stored(raw: bytes) -> str:
        digest = hashlib.sha256(raw).hexdigest()
        (folder / "blobs").mkdir(parents=True, exist_ok=True)
        (folder / "blobs" / f"sha256-{digest}").write_bytes(raw)
        return f"sha256:{digest}"

    def layer(kind: str, raw: bytes) -> None:
        layers.append({"mediaType": f"application/vnd.ollama.image.{kind}", "digest": stored(raw)})

    layer("model", small_model().key("tokenizer.chat_template", STRING, OWN).build())
    layer(kind, template)
    layer("system", "Du bist nützlich.".encode())
    layer("license", b"MIT")
    layer("license", b"and Apache")
    layer("params", b'{"temperature": 0.25, "stop": ["<a>", "<b>"], "num_gqa": 8}')
    layer("messages", b'[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]')
    manifest = folder / "manifests" / "registry.ollama.ai" / "library" / "deepseek-r1" / "671b"
    manifest.parent.mkdir(parents=True)
    described = {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "digest": stored(json.dumps(config).encode()),
    }
    manifest.write_text(json.dumps({"schemaVersion": 2, "config": described, "layers": layers}))
    return manifest


def test_ollamas_own_store(registry, tmp_path):
    manifest = ollama_store(tmp_path / "models")
    for given in (manifest, tmp_path / "models"):
        record = registry.import_files([given])
        assert str(record.name) == "deepseek-r1:671b"
        assert record.files[0].parent == tmp_path / "models" / "blobs"
        assert (record.system, record.license) == ("Du bist nützlich.", "MIT\n\nand Apache")
        assert record.template == GO.decode()
        assert record.capabilities == ("completion", "tools")
        assert record.parameters == {"temperature": 0.25, "stop": ["<a>", "<b>"]}
        assert record.messages == (("user", "hi"), ("assistant", "yo"))
        assert registry.present("deepseek-r1:671b") == record
    bare = registry.import_files([record.files[0]], "bare")
    assert (bare.system, bare.template) == (None, OWN)
    assert registry.import_files([manifest], "mine").digest == record.digest != registry.find("bare").digest


@pytest.mark.parametrize(
    ("facts", "template"),
    [
        ({"kind": "prompt"}, GO.decode()),  # as templates were called at first
        ({"template": b"{{ .Prompt }}"}, OWN),  # what Ollama writes where it knows none
        ({"renderer": "deepseek3.1"}, OWN),  # built into Ollama: its template says nothing
    ],
)
def test_templates_of_ollamas_store(registry, tmp_path, facts, template):
    assert registry.import_files([ollama_store(tmp_path / "models", **facts)]).template == template


def test_a_template_that_cannot_be_run_is_refused_with_the_reason(home, tmp_path):
    manifest = ollama_store(tmp_path / "models")
    supported = Supported(flaw=lambda template: "line 1: no" if template == GO.decode() else None)
    with Registry.open(home, supported=supported) as registry:
        refused(registry, manifest, match=r"671b: its template cannot be run: line 1: no; its model file alone")


def test_a_store_of_several_is_told_by_name(registry, tmp_path):
    manifest = ollama_store(tmp_path / "models")
    other = manifest.with_name("7b")
    other.write_text(manifest.read_text())
    refused(registry, tmp_path / "models", match=rf"2 models; import one by its manifest:\n  {manifest}\n  {other}")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is not a manifest"),
        ('{"layers": 1}', "is not a manifest"),
        ('{"layers": [1, {}]}', "names no model file"),
        ('{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../x"}]}', "digest"),
        (" " * (1 << 20) + "{}", "more than 1048576 bytes"),
    ],
)
def test_manifests_that_lead_nowhere(registry, tmp_path, text, match):
    manifest = ollama_store(tmp_path / "models")
    manifest.write_text(text)
    refused(registry, manifest, match=match)


def test_projectors_are_passed_over(registry, tmp_path):
    model = small_model().write(tmp_path / "model.gguf")
    small_model("clip").write(tmp_path / "mmproj-F16.gguf")
    assert registry.import_files([tmp_path]).files == (model,)


def test_names_that_are_not_utf8(registry, weights):
    odd = weights.rename(os.fsdecode(os.fsencode(weights.parent) + b"/caf\xe9.gguf"))
    for given in (odd, weights.parent):
        refused(registry, given, match=r"caf\\udce9\.gguf' is not a UTF-8 name")


def test_directory_without_models(registry, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(registry, tmp_path / "empty", match="holds no .gguf file")


def test_relative_paths_and_links(registry, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(weights.parent)
    (tmp_path / "link.gguf").symlink_to(weights)
    assert registry.import_files(["Small-Q8_0.gguf"]).files == (weights,)
    assert registry.import_files([tmp_path / "link.gguf"]).files == (tmp_path / "link.gguf",)


def test_progress_counts_every_byte(registry, tmp_path):
    shards = write_shards(tmp_path, 3)
    seen = []
    record = registry.import_files(shards, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, record.size) and seen[-1] == (record.size, record.size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_cancelled(registry, weights):
    with pytest.raises(ImportCancelled, match=r"the import stopped while .*Small-Q8_0\.gguf was read"):
        registry.import_files([weights], cancelled=lambda: True)
    assert registry.list() == []


def test_changed_while_it_is_read(registry, weights):
    def progress(done: int, total: int) -> None:
        if done == total:
            with weights.open("ab") as file:
                file.write(b"more")

    with pytest.raises(ImportRefused, match="was changed while it was imported"):
        registry.import_files([weights], progress=progress)
    assert registry.list() == []


def test_bad_names_are_refused_before_anything_is_read(registry, weights):
    with pytest.raises(InvalidName, match=r"invalid model name '\.\./etc'"):
        registry.import_files([weights], name="../etc", cancelled=lambda: True)
    with pytest.raises(InvalidName, match="no model name can be made of '模型'"):
        registry.import_files([weights.rename(weights.with_name("模型.gguf"))], cancelled=lambda: True)
