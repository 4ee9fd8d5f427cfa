"""The demo model's entry."""

import json
import shutil

import pytest
from gguf_writer import small_model

import ktd
from ktd.registry.demo import demo_folder
from ktd.registry.errors import DemoMissing, FileGone, ModelNotFound
from ktd.registry.store import Registry


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package's folder, in a place that can be changed as upgrades do."""
    package = tmp_path / "v1" / "ktd"
    shutil.copytree(demo_folder(), package / "demo")
    monkeypatch.setattr(ktd, "__path__", [str(package)])
    return package


def upgraded(installed, tmp_path, monkeypatch):
    package = tmp_path / "v2" / "ktd"
    package.parent.mkdir()
    installed.rename(package)
    monkeypatch.setattr(ktd, "__path__", [str(package)])
    return package


def test_a_real_entry(registry):
    record = registry.ensure_demo()
    assert str(record.name) == "demo:latest"
    assert registry.list() == [record] and registry.present("demo") == record
    assert record.files == (demo_folder() / "ktd-tiny-q8_0.gguf",)
    assert record.bundle == demo_folder()
    assert record.capabilities == ("completion", "tools", "insert", "thinking")
    assert (record.details.parameter_size, record.details.quantization_level) == ("12.4M", "Q8_0")
    assert record.parameters == {"temperature": 0.6, "top_p": 0.95}
    assert record.template == (demo_folder() / "chat_template.jinja").read_text()
    assert record.license == "cc0-1.0"


def test_once_per_home(home):
    with Registry.open(home) as registry:
        first = registry.ensure_demo()
    with Registry.open(home) as registry:
        assert registry.ensure_demo() == first == registry.find("demo")


def test_deleted_stays_deleted_until_restored(home):
    with Registry.open(home) as registry:
        registry.ensure_demo()
        registry.delete("demo")
    assert (demo_folder() / "ktd-tiny-q8_0.gguf").exists()
    with Registry.open(home) as registry:
        assert registry.ensure_demo() is None
        with pytest.raises(ModelNotFound):
            registry.find("demo")
        restored = registry.restore_demo()
        assert registry.ensure_demo() == restored == registry.present("demo")


def test_a_model_of_the_users_own_is_left_alone(registry, weights):
    mine = registry.import_files([weights], name="demo")
    assert registry.ensure_demo() is None
    assert registry.find("demo") == mine
    registry.restore_demo()
    later = registry.import_files([weights], name="demo")
    assert registry.ensure_demo() is None
    assert registry.find("demo") == later


def test_importable_like_any_other(registry):
    assert registry.import_files([demo_folder()], name="mine").digest == registry.ensure_demo().digest


def test_upgrade_that_moves_the_package(registry, installed, tmp_path, monkeypatch):
    digest = registry.ensure_demo().digest
    registry.copy("demo", "kept")
    package = upgraded(installed, tmp_path, monkeypatch)
    with pytest.raises(FileGone):
        registry.present("demo")
    assert registry.ensure_demo().digest == digest
    for name in ("demo", "kept"):
        record = registry.present(name)
        assert record.files == (package / "demo" / "ktd-tiny-q8_0.gguf",)
        assert record.bundle == package / "demo"


def test_upgrade_that_changes_the_demo(registry, installed, tmp_path, monkeypatch):
    before = registry.ensure_demo()
    package = upgraded(installed, tmp_path, monkeypatch)
    (package / "demo" / "generation_config.json").write_text(json.dumps({"temperature": 0.1}))
    after = registry.ensure_demo()
    assert after.parameters == {"temperature": 0.1} and after.digest != before.digest
    registry.delete("demo")
    assert registry.ensure_demo() is None


def test_installation_without_the_demo(registry, installed, tmp_path):
    shutil.rmtree(installed)
    with pytest.raises(DemoMissing, match=f"lacks the demo model .looked in {installed}/demo"):
        registry.ensure_demo()
    small_model().write(tmp_path / "other.gguf")
    assert registry.list() == []
