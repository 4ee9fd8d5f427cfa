"""Resolver: which files of a repository a quant tag means.

Publishers name the same thing in many ways: `R1-UD-IQ1_S/R1-UD-IQ1_S-00001-of-00003.gguf`, a dot in
`R1.Q8_0-00001-of-00015.gguf`, a folder without the model in `UD-Q2_K_XL/V3-UD-Q2_K_XL-00001-of-00006.gguf`, or one
file for each quant.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ktd.registry.errors import NoSuchQuant
from ktd.registry.names import DEFAULT_TAG
from ktd.registry.sizes import gigabytes
from ktd.registry.sources.hub import HubFile

SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
QUANT = re.compile(
    r"(?:^|[-._])((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|BF16|FP?16|FP?32|FP8|MXFP4(?:_MOE)?|NVFP4))$", re.IGNORECASE
)
DYNAMIC = "UD-"
NOT_MODELS = re.compile(r"(^|[-._/])(mmproj|imatrix)", re.IGNORECASE)
# fmt: off
PREFERRED = (  # with no tag: the usual one, then what is nearest to it in use
    "Q4_K_M", "UD-Q4_K_XL", "Q4_K_L", "Q4_K_S", "Q4_K", "IQ4_NL", "IQ4_XS", "Q4_0", "Q4_1", "MXFP4",
    "MXFP4_MOE", "UD-Q5_K_XL", "Q5_K_M", "Q5_K_S", "Q5_K", "Q5_0", "Q5_1", "UD-Q3_K_XL", "Q3_K_L", "Q3_K_M",
    "Q3_K_S", "Q3_K", "UD-Q6_K_XL", "Q6_K", "UD-Q8_K_XL", "Q8_0", "UD-Q2_K_XL", "Q2_K_L", "Q2_K",
    "UD-IQ3_XXS", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS", "UD-IQ2_M", "IQ2_M", "IQ2_S", "IQ2_XS", "UD-IQ2_XXS",
    "IQ2_XXS", "UD-IQ1_M", "IQ1_M", "UD-IQ1_S", "IQ1_S", "TQ2_0", "TQ1_0", "BF16", "F16", "F32",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Variant:
    """One model of a repository: its shards in order."""

    label: str  # "UD-IQ1_S"; the file's own name when that tells no quant
    stem: str  # "DeepSeek-R1-UD-IQ1_S"
    files: tuple[HubFile, ...]
    count: int  # shards there should be

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def complete(self) -> bool:
        return len(self.files) == self.count

    @property
    def folder(self) -> str:
        return self.files[0].folder


def variants(files: Iterable[HubFile]) -> list[Variant]:
    """The models among a repository's files, smallest first; vision projectors and importance matrices are none."""
    groups: dict[tuple[str, str, int], dict[int, HubFile]] = defaultdict(dict)
    for file in files:
        if not file.name.lower().endswith(".gguf") or NOT_MODELS.search(file.name):
            continue
        shard = SHARD.fullmatch(file.name)
        stem = shard["stem"] if shard else file.name[: -len(".gguf")]
        count = int(shard["count"]) if shard else 0
        number = int(shard["number"]) if shard else 0
        groups[file.folder, stem, count][number] = file
    found = [_variant(folder, stem, count, shards) for (folder, stem, count), shards in groups.items()]
    return sorted(found, key=lambda variant: (variant.size, variant.stem))


def resolve(repo: str, files: Sequence[HubFile], tag: str = DEFAULT_TAG) -> Variant:
    """The model that a tag means. Raises `NoSuchQuant` with a list of what there is."""
    there = variants(files)
    whole = [variant for variant in there if variant.complete]
    if not there:
        raise NoSuchQuant(f"{repo} has no GGUF files; look for a repository whose name ends in -GGUF")
    if tag.lower() == DEFAULT_TAG:
        return _usual(repo, whole, there)
    for candidates in _readings(whole, tag):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise NoSuchQuant(f"{tag} may mean several models of {repo}; name one of these files:\n{table(candidates)}")
    for candidates in _readings(there, tag):
        if candidates:
            variant = candidates[0]
            raise NoSuchQuant(f"{repo} has only {len(variant.files)} of the {variant.count} shards of {variant.stem}")
    raise NoSuchQuant(f"{repo} has no {tag}; it has:\n{table(there)}")


def selected(files: Iterable[HubFile], include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[HubFile]:
    """The files that any `include` pattern (or none given) and no `exclude` pattern matches; `*` crosses folders."""
    return [
        file
        for file in files
        if (not include or any(fnmatchcase(file.path, pattern) for pattern in include))
        and not any(fnmatchcase(file.path, pattern) for pattern in exclude)
    ]


def table(there: Iterable[Variant]) -> str:
    """Lines of quant, size and file name."""
    rows = [(variant.label, gigabytes(variant.size), variant.files[0].path) for variant in there]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    return "\n".join(f"  {label:<{widths[0]}}  {size:>{widths[1]}}  {path}" for label, size, path in rows)


def _variant(folder: str, stem: str, count: int, shards: dict[int, HubFile]) -> Variant:
    ordered = tuple(file for _, file in sorted(shards.items()))
    return Variant(_label(folder, stem), stem, ordered, count or 1)


def _label(folder: str, stem: str) -> str:
    """The quant in a file's name, else in its folder's, else the name itself."""
    for text in (stem, folder.rpartition("/")[2]):
        if match := QUANT.search(text):
            return match[1].upper()
    return stem


def _usual(repo: str, whole: Sequence[Variant], there: Sequence[Variant]) -> Variant:
    if len(whole) == 1:
        return whole[0]
    for label in PREFERRED:
        candidates = [variant for variant in whole if variant.label == label]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            break
    raise NoSuchQuant(f"{repo} has several models; name one of them after a colon:\n{table(there)}")


def _readings(there: Sequence[Variant], tag: str) -> Iterator[list[Variant]]:
    """What a tag may mean, from the narrowest reading to the widest."""
    wanted = _plain(tag)
    yield [v for v in there if any(wanted in (_plain(f.name), _plain(f.name.rpartition(".")[0])) for f in v.files)]
    yield [v for v in there if wanted == _plain(v.stem)]
    yield [v for v in there if wanted == _plain(v.label)]
    yield [v for v in there if _plain(DYNAMIC) + wanted == _plain(v.label)]
    yield [v for v in there if wanted == _plain(v.folder.rpartition("/")[2])]
    yield [v for v in there if _plain(v.stem).endswith(f"-{wanted}")]


def _plain(text: str) -> str:
    """Without case, and with one kind of separator."""
    return re.sub(r"[._-]+", "-", text.lower())
