"""Configuration: the files of a model's original repository that are neither weights nor code, as a bundle."""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ktd.registry.blobs import Blobs
from ktd.registry.errors import HubRefused
from ktd.registry.sources.hub import Hub, HubFile, Listing
from ktd.registry.sources.transfer import Transfer

LARGEST = 64 << 20  # bytes of one file
MOST = 256 << 20  # bytes of all
TEXTS = {".json", ".jinja", ".txt", ".md", ".model", ".tiktoken", ".yaml", ".yml"}
BARE = re.compile(r"LICENSE|NOTICE|README|LICENSE[-_.].*", re.IGNORECASE)
NOT_TEXTS = re.compile(r".*\.index\.json", re.IGNORECASE)  # where weights lie that are not here
CORE = "config.json"


def configuration_of(listing: Listing) -> list[HubFile]:
    """The files of a bundle: those at the top, of known kinds and sizes; none when there is no config.json."""
    files = [file for file in listing.files if not file.folder and _is_text(file.name) and file.size <= LARGEST]
    if not any(file.name == CORE for file in files) or sum(file.size for file in files) > MOST:
        return []
    return files


def bundle_key(files: Sequence[HubFile]) -> str:
    """The same for the same bytes, whichever hub has them."""
    facts = sorted((file.name, file.size, file.sha256 or file.git_oid or "") for file in files)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


async def fetch_bundle(hub: Hub, transfer: Transfer, listing: Listing, blobs: Blobs) -> Path | None:
    """The folder with a repository's configuration, fetched unless it is there; None when it has none.

    Raises what a transfer raises, `HubRefused` for bytes that are not those listed, OSError.
    """
    files = configuration_of(listing)
    if not files:
        return None
    target = blobs.bundles / f"sha256-{bundle_key(files)}"
    if target.is_dir():
        return target
    with blobs.staged_folder() as staged:
        for file in files:
            address = await asyncio.to_thread(hub.address, listing, file)
            data = await transfer.read(address, file)
            _prove(file, data)
            (staged / file.name).write_bytes(data)
        os.replace(staged, target)
    return target


def _is_text(name: str) -> bool:
    known = PurePosixPath(name.lower()).suffix in TEXTS or BARE.fullmatch(name)
    return bool(known) and not NOT_TEXTS.fullmatch(name) and not name.startswith(".")


def _prove(file: HubFile, data: bytes) -> None:
    if file.sha256:
        wanted, got = file.sha256, hashlib.sha256(data).hexdigest()
    elif file.git_oid:
        wanted, got = file.git_oid, hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    else:
        wanted, got = str(file.size), str(len(data))
    if wanted != got:
        raise HubRefused(f"{file.path} is not as it was listed: want {wanted}, got {got}")
