"""Prune: remove what lies in a home and nothing uses."""

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path


def prune(home: Path, digests: Collection[str], bundles: Collection[str], downloads: bool) -> tuple[int, int]:
    """Remove blobs other than `digests`, pulled bundles other than `bundles`, and partial files when `downloads`.

    Returns how many files and bytes went.
    """
    files = freed = 0
    for path in _unused(home, digests, bundles, downloads):
        sizes = [one.stat().st_size for one in ([path] if path.is_file() else path.rglob("*")) if one.is_file()]
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        files, freed = files + len(sizes), freed + sum(sizes)
    return files, freed


def _unused(home: Path, digests: Collection[str], bundles: Collection[str], downloads: bool) -> Iterator[Path]:
    kept = {digest.replace(":", "-") for digest in digests}
    yield from (path for path in _inside(home / "blobs") if path.name not in kept)
    yield from (path for path in _inside(home / "bundles") if str(path) not in bundles)
    if downloads:
        yield from _inside(home / "downloads")


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
