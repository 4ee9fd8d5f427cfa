"""The demo model: a small trained model that comes with the package, registered where it lies."""

from pathlib import Path

import ktd
from ktd.registry.errors import DemoMissing
from ktd.registry.names import ModelName

DEMO = ModelName.parse("demo")
DEMO_MARK = "demo"  # its value is the digest that the demo was last registered with


def demo_folder() -> Path:
    """The directory with the demo's GGUF and bundle; raises `DemoMissing`."""
    folders = [Path(path).absolute() / "demo" for path in ktd.__path__]
    for folder in folders:
        if any(folder.glob("*.gguf")):
            return folder
    raise DemoMissing(f"this installation lacks the demo model (looked in {', '.join(map(str, folders))})")
