"""Config bundles: read with caps, refused by name, never executed."""

import json
import os

import pytest
from gguf_writer import small_model
from hypothesis import given, settings
from hypothesis import strategies as st

from ktd.registry.bundle import FILES, read_bundle
from ktd.registry.errors import BundleRefused, ImportRefused


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "deepseek_v3", "hidden_size": 32}))
    (folder / "generation_config.json").write_text(
        json.dumps({"temperature": 0.6, "top_p": 0.95, "top_k": 50, "repetition_penalty": 1, "do_sample": True})
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "from tokenizer_config"}))
    return folder


def test_defaults_and_template(folder):
    bundle = read_bundle(folder)
    assert bundle.parameters == {"temperature": 0.6, "top_p": 0.95, "top_k": 50, "repeat_penalty": 1.0}
    assert bundle.template == "from tokenizer_config"
    assert set(bundle.files) == {"config.json", "generation_config.json", "tokenizer_config.json"}
    (folder / "chat_template.jinja").write_text("from jinja")
    assert read_bundle(folder).template == "from jinja"


def test_named_templates(folder):
    named = [{"name": "rag", "template": "no"}, {"name": "default", "template": "yes"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert read_bundle(folder).template == "yes"


def test_greedy_models_default_to_temperature_0(folder):
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": False, "temperature": None}))
    assert read_bundle(folder).parameters == {"temperature": 0.0}


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("config.json", b"{", r"config\.json is not valid JSON"),
        ("config.json", b"[]", r"config\.json is not a JSON object"),
        ("config.json", b'{"a": NaN}', "NaN is not JSON"),
        ("config.json", b"[" * 100_000, "is not valid JSON"),
        ("config.json", b"\xff\xfe\xfd", "is not valid JSON"),
        ("config.json", b" " * (1 << 20) + b"{}", r"config\.json has 1048578 bytes, more than the 1048576 accepted"),
        ("generation_config.json", b'{"temperature": "hot"}', "temperature is 'hot', not a number"),
        ("generation_config.json", b'{"temperature": true}', "temperature is True, not a number"),
        ("generation_config.json", b'{"top_p": 1.5}', r"top_p is 1\.5, outside 0\.0 to 1\.0"),
        ("generation_config.json", b'{"top_k": 1e999}', "top_k is inf, outside"),
        ("generation_config.json", b'{"top_k": ' + b"9" * 4000 + b"}", "top_k is 999"),
        ("tokenizer_config.json", b'{"chat_template": 5}', r"tokenizer_config\.json: chat_template is not text"),
        ("tokenizer_config.json", b'{"chat_template": [{"name": "default", "template": {}}]}', "is not text"),
        ("chat_template.jinja", b"\xff", r"chat_template\.jinja is not UTF-8"),
    ],
)
def test_refused_by_name(folder, name, contents, message):
    (folder / name).write_bytes(contents)
    with pytest.raises(BundleRefused, match=message):
        read_bundle(folder)


def test_odd_directories(folder, tmp_path):
    with pytest.raises(BundleRefused, match="is not a directory"):
        read_bundle(folder / "config.json")
    with pytest.raises(BundleRefused, match=r"holds none of config\.json"):
        read_bundle(tmp_path)
    (folder / "tokenizer.json").mkdir()
    with pytest.raises(BundleRefused, match=r"tokenizer\.json is not a regular file"):
        read_bundle(folder)
    (folder / "tokenizer.json").rmdir()
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(BundleRefused, match=r"tokenizer\.json is not a regular file"):
        read_bundle(folder)


def test_bundle_refines_the_file(registry, weights, folder):
    record = registry.import_files([weights], config=folder)
    assert record.template == "from tokenizer_config"
    assert record.parameters["top_k"] == 50
    assert record.bundle == folder
    assert registry.find(record.name) == record


def test_bundle_of_another_model(registry, weights, folder):
    (folder / "config.json").write_text(json.dumps({"hidden_size": 7168}))
    with pytest.raises(BundleRefused, match="of another model: its hidden_size is 7168, the weights have 32"):
        registry.import_files([weights], config=folder)
    assert registry.list() == []


def test_a_directory_may_be_its_own_bundle(registry, folder):
    small_model().write(folder / "weights.gguf")
    assert registry.import_files([folder]).bundle == folder


def test_missing_config_directory(registry, weights, tmp_path):
    with pytest.raises(ImportRefused, match="is not a directory"):
        registry.import_files([weights], config=tmp_path / "absent")


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(sorted(FILES)), contents=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, name, contents):
    folder = tmp_path_factory.mktemp("bundle")
    (folder / name).write_bytes(contents)
    try:
        read_bundle(folder)
    except BundleRefused as error:
        assert name in str(error)
