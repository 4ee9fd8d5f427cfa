"""Pull: one model on its way from a hub to the registry. Its steps read top to bottom in `run`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ktd.engine.gguf import GGUFError, Shard
from ktd.registry.disk import fetching
from ktd.registry.errors import (
    BundleRefused,
    HubRefused,
    HubUnreachable,
    ModelBroken,
    ModelNotFound,
    PullError,
)
from ktd.registry.fit import fit
from ktd.registry.names import ModelName
from ktd.registry.pulls import preflight
from ktd.registry.pulls.configuration import fetch_bundle
from ktd.registry.pulls.journal import Request
from ktd.registry.pulls.means import Means
from ktd.registry.pulls.preflight import Beginning
from ktd.registry.pulls.relay import Source
from ktd.registry.record import ModelRecord
from ktd.registry.reference import Reference, Stamp
from ktd.registry.resolver import Variant, resolve, selected
from ktd.registry.sizes import gigabytes
from ktd.registry.sources.asking import asked, first_answer
from ktd.registry.sources.hub import Hub, HubFile, Listing
from ktd.registry.sources.transfer import Broken, RangeRefused, Transfer
from ktd.registry.store import Registry
from ktd.registry.supported import Supported

TRIES = 3  # of putting files together that a removal at the same time took away


@dataclass(slots=True)
class FileProgress:
    """One file of a pull; `received` bytes of it are here."""

    path: str
    digest: str  # 64 hex digits
    size: int
    received: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model was found: a hub, an open line to it, and what is to be fetched."""

    hub: Hub
    transfer: Transfer
    listing: Listing
    variant: Variant


class Pull:
    """Reports by its fields, which other threads may read: `before`, then `files` as they grow, then `after`."""

    def __init__(self, request: Request, means: Means) -> None:
        self.request = request
        self.before: list[str] = []
        self.after: list[str] = []
        self.files: Sequence[FileProgress] = ()
        self.digests: frozenset[str] = frozenset()  # of the files that it wants, as soon as they are known
        self._means = means
        self._transfers: dict[str, Transfer] = {}
        self._stack = AsyncExitStack()

    async def run(self) -> ModelRecord:
        """Raises `RegistryError`s."""
        self.before.append("pulling manifest")
        async with self._stack:
            places = await self._find()
            bundle = await self._prepared(places)
            for attempt in range(1, TRIES + 1):
                references = await self._gather(places)
                if attempt == 1:
                    self.after.append("verifying sha256 digest")
                with suppress(ModelBroken):
                    return await self._register(references, bundle)
        raise PullError("the model's files are removed as fast as they arrive; pull again")

    async def _find(self) -> list[Place]:
        """Where the model is, best place first; other hubs that have the very same files can stand in."""
        return [await first_answer(self._hubs(), self._look)]

    def _hubs(self) -> list[Hub]:
        return self._means.hubs.of(self.request.name, self.request.source, self.request.token)

    async def _look(self, hub: Hub) -> Place:
        name = self.request.name
        repo = f"{name.namespace}/{name.model}"
        listing = await asked(hub.listing, repo, self.request.revision)
        there = selected(listing.files, self.request.include, self.request.exclude)
        variant = resolve(repo, there, name.tag)
        for file in variant.files:
            if file.sha256 is None:
                raise PullError(f"{hub.label} gives no sha256 for {file.path}, so it cannot be checked")
        return Place(hub, await self._line(hub), listing, variant)

    async def _line(self, hub: Hub) -> Transfer:
        """The connections to a hub, closed at the end of the pull."""
        if hub.endpoint not in self._transfers:
            transfer = Transfer(hub.endpoint)
            self._stack.push_async_callback(transfer.close)
            self._transfers[hub.endpoint] = transfer
        return self._transfers[hub.endpoint]

    async def _prepared(self, places: list[Place]) -> Path | None:
        """`_prepare` at the first place whose files can be read; that is the first one then."""
        while True:
            try:
                return await self._prepare(places[0])
            except HubUnreachable as error:
                await self._fall_over(places, error)

    async def _prepare(self, place: Place) -> Path | None:
        """Plan the files, refuse what cannot work, say what will be. Returns the configuration's folder."""
        means, variant = self._means, place.variant
        self.digests = frozenset(file.digest for file in variant.files)
        files = [FileProgress(file.path, file.digest, file.size) for file in variant.files]
        for progress in files:
            progress.received = await asyncio.to_thread(means.here, progress.digest, progress.size)
        known = means.registry.known  # which is more than to have come: it was proved
        here = {file.digest for file in files if await asyncio.to_thread(known, file.digest, file.size)}
        plan = means.journal.plan
        await asyncio.to_thread(plan, self.request.name, place.hub.name, place.listing, variant.files, here)
        missing = sum(file.size - file.received for file in files)
        free = preflight.check_space(means.registry.home, missing)
        header = await self._header(place) if missing else None
        if missing:
            self.before.append(
                f"{variant.label}: {gigabytes(variant.size)} in {len(files)} file{'s' * (len(files) > 1)} from "
                f"{place.hub.label}, {gigabytes(missing)} to fetch, {gigabytes(free)} free"
            )
            machine = await asyncio.to_thread(means.probe)
            self.before.append(str(fit(variant.size, header.metadata if header else None, machine)))
        bundle = await self._bundle(place, header)
        self.files = files
        return bundle

    async def _header(self, place: Place) -> Shard:
        """The header of the first shard, from what is here of it or else from the hub; what comes is kept."""
        means, first = self._means, place.variant.files[0]
        address = await asyncio.to_thread(place.hub.address, place.listing, first)
        async with means.undisturbed(first) as alone:
            here = await asyncio.to_thread(means.beginning, first) if alone else b""
            beginning = Beginning(first, partial(place.transfer.read, address, first), here)
            header = await self._patiently(place, first, beginning.header)
            await means.fetch.pace.spend(len(beginning.data) - len(here))
            _check_kind(header, means.registry.supported)
            if alone and len(beginning.data) > len(here):
                await asyncio.to_thread(means.keep, first, beginning.data)
        return header

    async def _patiently(self, place: Place, file: HubFile, ask: Callable[[], Awaitable[Shard]]) -> Shard:
        limits = self._means.fetch.limits
        for attempt in range(limits.attempts):
            try:
                return await ask()
            except (Broken, RangeRefused) as error:
                problem = error
                wait = getattr(error, "wait", 0.0)
                await asyncio.sleep(max(wait, limits.first_wait * 2**attempt))
        raise HubUnreachable(f"{place.hub.label} broke off again and again for {file.path}: {problem}")

    async def _bundle(self, place: Place, header: Shard | None) -> Path | None:
        """The configuration of the base model, else what the repository itself has. Without it the GGUF must do."""
        named = preflight.base_of(header) if header else None
        repos = dict.fromkeys([*place.listing.bases, *([named] if named else [])])
        for repo in repos:
            try:
                listing = await asked(place.hub.listing, repo, None)
                if found := await self._fetched_bundle(place, listing):
                    return found
            except (PullError, Broken, RangeRefused, OSError) as error:
                self.before.append(f"configuration of {repo} left out: {error}")
        try:
            return await self._fetched_bundle(place, place.listing)
        except (PullError, Broken, RangeRefused, OSError) as error:
            self.before.append(f"configuration left out: {error}")
            return None

    async def _fetched_bundle(self, place: Place, listing: Listing) -> Path | None:
        return await fetch_bundle(place.hub, place.transfer, listing, self._means.registry.blobs)

    async def _gather(self, places: list[Place]) -> list[Reference]:
        """All files, several at a time; the first failure stops the others."""
        place = places[0]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._file(place, file, progress))
                    for file, progress in zip(place.variant.files, self.files, strict=True)
                ]
        except ExceptionGroup as errors:
            unreachable = errors.subgroup(HubUnreachable)
            if unreachable and len(unreachable.exceptions) == len(errors.exceptions):
                await self._fall_over(places, errors.exceptions[0])
                return await self._gather(places)
            raise errors.exceptions[0] from errors
        return [task.result() for task in tasks]

    async def _fall_over(self, places: list[Place], problem: Exception) -> None:
        """Put the next hub that has the same files in the first place. Raises `problem` when there is none."""
        tried = {place.hub.name for place in places}
        wanted = [file.sha256 for file in places[0].variant.files]
        for hub in self._hubs():
            if hub.name in tried:
                continue
            with suppress(PullError):
                found = await self._look(hub)
                if [file.sha256 for file in found.variant.files] == wanted:
                    places.insert(0, found)
                    return
        raise problem

    async def _file(self, place: Place, file: HubFile, progress: FileProgress) -> Reference:
        """One file, fetched unless somebody else has done so meanwhile."""
        means, digest = self._means, progress.digest
        async with means.busy.setdefault(digest, asyncio.Lock()):
            known = await asyncio.to_thread(means.registry.known, digest, file.size)
            if known is None:
                known = await self._fetched(place, file, progress)
        progress.received = progress.size
        return known

    async def _fetched(self, place: Place, file: HubFile, progress: FileProgress) -> Reference:
        means = self._means

        def received(count: int) -> None:
            progress.received = count

        source = Source(place.hub, place.transfer, place.listing, file)
        with fetching(means.stage.path(file.digest)), await means.fetch.file(source, received) as arrived:
            target = means.registry.blobs.path(f"sha256:{file.digest}")
            await asyncio.to_thread(arrived.move, target)
            await asyncio.to_thread(means.journal.arrived, place.hub.name, place.listing, file, arrived.checksums)
        return Reference(target, f"sha256:{progress.digest}", Stamp.of(target))

    async def _register(self, references: list[Reference], bundle: Path | None) -> ModelRecord:
        """The files as a model. Raises `ModelBroken` when one of them was removed meanwhile."""
        registry, name = self._means.registry, self.request.name
        replaced = await asyncio.to_thread(_find_model, registry, name)
        self.after.append("writing manifest")
        try:
            record = await asyncio.to_thread(registry.adopt, name, references, bundle)
        except BundleRefused as error:
            self.after.append(f"configuration left out: {error}")
            record = await asyncio.to_thread(registry.adopt, name, references, None)
        await asyncio.to_thread(self._means.journal.finish, name)
        if replaced and replaced.digest != record.digest:
            self.after.append("removing unused layers")
        return record


def _check_kind(header: Shard, supported: Supported) -> None:
    """Raises `ImportRefused` for a model that cannot run here, `HubRefused` for a header that makes no sense."""
    try:
        supported.check(header.path, header.metadata)
    except GGUFError as error:
        raise HubRefused(str(error)) from error


def _find_model(registry: Registry, name: ModelName) -> ModelRecord | None:
    with suppress(ModelNotFound):
        return registry.find(name)
    return None
