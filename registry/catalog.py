"""Catalog: what the hubs have: repositories by words, and the quants of one with what they take here."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ktd.engine.gguf import Shard
from ktd.registry.errors import HubUnreachable, PullError
from ktd.registry.fit import Fit, Machine, Probe, fit
from ktd.registry.names import ModelName
from ktd.registry.pulls.preflight import Beginning
from ktd.registry.resolver import Variant, variants
from ktd.registry.sources.asking import asked, first_answer
from ktd.registry.sources.hub import Found, Hub, Listing
from ktd.registry.sources.hubs import Hubs
from ktd.registry.sources.transfer import Broken, RangeRefused, Transfer

PATIENCE = 8.0  # seconds for an answer to a search


@dataclass(frozen=True, slots=True)
class Quant:
    """One model of a repository."""

    label: str
    files: tuple[str, ...]
    size: int
    bits: float | None  # per weight
    fit: Fit
    complete: bool  # all its shards are there


@dataclass(frozen=True, slots=True)
class Quants:
    repo: str
    source: str
    architecture: str | None
    machine: Machine
    rows: tuple[Quant, ...]


class Catalog:
    def __init__(self, hubs: Hubs, probe: Probe) -> None:
        self._hubs = hubs
        self._probe = probe

    async def search(self, query: str, limit: int) -> tuple[list[Found], list[str]]:
        """What both hubs find, and what kept one of them from answering. Raises when neither answers."""
        hubs = self._hubs.all()
        answers = await asyncio.gather(*(_search(hub, query, limit) for hub in hubs), return_exceptions=True)
        found, problems = list[Found](), list[PullError]()
        for answer in answers:
            if isinstance(answer, PullError):
                problems.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found += answer
        if len(problems) == len(hubs):
            raise HubUnreachable("; ".join(map(str, problems)))
        return sorted(found, key=lambda one: -(one.downloads or 0)), [str(problem) for problem in problems]

    async def quants(self, name: ModelName, source: str | None = None) -> Quants:
        """The models of a repository, smallest first. Raises `PullError`s."""

        async def look(hub: Hub) -> tuple[Hub, Listing]:
            return hub, await asked(hub.listing, f"{name.namespace}/{name.model}", None)

        return await self._quants(*await first_answer(self._hubs.of(name, source), look))

    async def _quants(self, hub: Hub, listing: Listing) -> Quants:
        there = variants(listing.files)
        headers = await _headers(hub, listing, there)
        weights = sum(tensor.weights for header in headers for tensor in header.tensors)
        machine = await asyncio.to_thread(self._probe)
        metadata = headers[0].metadata if headers else None
        rows = tuple(
            Quant(
                label=variant.label,
                files=tuple(file.path for file in variant.files),
                size=variant.size,
                bits=8 * variant.size / weights if weights else None,
                fit=fit(variant.size, metadata, machine),
                complete=variant.complete,
            )
            for variant in there
        )
        architecture = metadata.text("general.architecture", None) if metadata else None
        return Quants(listing.repo, hub.name, architecture, machine, rows)


async def _search(hub: Hub, query: str, limit: int) -> list[Found]:
    """The hubs' clients ask again and again; nobody waits that long for half of an answer."""
    try:
        return await asyncio.wait_for(asked(hub.search, query, limit), PATIENCE)
    except TimeoutError as error:
        raise HubUnreachable(f"{hub.label} ({hub.endpoint}) does not answer") from error


async def _headers(hub: Hub, listing: Listing, there: Sequence[Variant]) -> list[Shard]:
    """The headers of all shards of the smallest model; its weights are as many as those of the others."""
    smallest = next((variant for variant in there if variant.complete), None)
    if smallest is None:
        return []
    transfer = Transfer(hub.endpoint)
    try:
        addresses = [await asyncio.to_thread(hub.address, listing, file) for file in smallest.files]
        reads = [
            Beginning(file, partial(transfer.read, address, file)).header()
            for address, file in zip(addresses, smallest.files, strict=True)
        ]
        return await asyncio.gather(*reads)
    except (Broken, RangeRefused) as error:
        raise HubUnreachable(f"{hub.label} broke off while the header of {smallest.stem} was read: {error}") from error
    finally:
        await transfer.close()
