"""What can become a model, and how the rest is refused."""

import os
from dataclasses import replace

import pytest
from gguf_writer import STRING, RawGguf, small_model, write_shards

from ktd.registry.errors import ImportCancelled, ImportRefused, InvalidName
from ktd.registry.store import Registry


def refused(registry, *paths, match):
    with pytest.raises(ImportRefused, match=match):
        registry.import_files(paths)
    assert registry.list() == []


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


def test_a_hubs_cache(registry, tmp_path):
    shards = write_shards(tmp_path / "models--x--y" / "snapshots" / "0123abc" / "UD-IQ1_S", 3)
    assert registry.import_files([tmp_path / "models--x--y"]).files == tuple(shards)


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
