"""Quant tags against the layouts that publishers really use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktd.registry.errors import NoSuchQuant
from ktd.registry.resolver import resolve, selected, variants
from ktd.registry.sources.hub import HubFile

GB = 10**9


def shards(folder: str, stem: str, count: int, size: int = 40 * GB) -> list[HubFile]:
    paths = [f"{folder}{stem}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    return [HubFile(path, size // count, f"{index:064x}") for index, path in enumerate(paths)]


IQ1_S = "DeepSeek-R1-UD-IQ1_S/DeepSeek-R1-UD-IQ1_S-00001-of-00003.gguf"
R1 = [
    HubFile("README.md", 10),
    HubFile("config.json", 10),
    *shards("DeepSeek-R1-UD-IQ1_S/", "DeepSeek-R1-UD-IQ1_S", 3, 140 * GB),
    *shards("DeepSeek-R1-UD-IQ1_M/", "DeepSeek-R1-UD-IQ1_M", 4, 169 * GB),
    *shards("DeepSeek-R1-UD-IQ2_XXS/", "DeepSeek-R1-UD-IQ2_XXS", 4, 196 * GB),
    *shards("DeepSeek-R1-UD-Q2_K_XL/", "DeepSeek-R1-UD-Q2_K_XL", 5, 226 * GB),
    *shards("DeepSeek-R1-Q2_K/", "DeepSeek-R1-Q2_K", 5, 244 * GB),
    *shards("DeepSeek-R1-Q4_K_M/", "DeepSeek-R1-Q4_K_M", 9, 404 * GB),
    *shards("DeepSeek-R1-Q8_0/", "DeepSeek-R1.Q8_0", 15, 713 * GB),
    *shards("DeepSeek-R1-BF16/", "DeepSeek-R1.BF16", 30, 1342 * GB),
]
V3 = [
    *shards("UD-IQ1_S/", "DeepSeek-V3-0324-UD-IQ1_S", 4, 186 * GB),
    *shards("UD-Q2_K_XL/", "DeepSeek-V3-0324-UD-Q2_K_XL", 6, 248 * GB),
    *shards("UD-Q4_K_XL/", "DeepSeek-V3-0324-UD-Q4_K_XL", 9, 405 * GB),
    *shards("Q4_K_M/", "DeepSeek-V3-0324-Q4_K_M", 9, 404 * GB),
]
SINGLE = [
    HubFile("Lite-Q4_K_M.gguf", 10 * GB, "a" * 64),
    HubFile("Lite-Q8_0.gguf", 17 * GB, "b" * 64),
    HubFile("Lite.IQ4_XS.gguf", 9 * GB, "c" * 64),
    HubFile("lite-fp16.gguf", 31 * GB, "d" * 64),
    HubFile("mmproj-Lite-f16.gguf", GB, "e" * 64),
    HubFile("Lite-mmproj-Q8_0.gguf", GB, "f" * 64),
    HubFile("imatrix.gguf", GB, "0" * 64),
]


@pytest.mark.parametrize(
    ("files", "tag", "first"),
    [
        (R1, "IQ1_S", IQ1_S),
        (R1, "iq1_s", IQ1_S),
        (R1, "UD-IQ1_S", IQ1_S),
        (R1, "DeepSeek-R1-UD-IQ1_S", IQ1_S),
        (
            R1,
            "DeepSeek-R1-UD-IQ1_S-00002-of-00003.gguf",
            IQ1_S,
        ),
        (R1, "Q2_K_XL", "DeepSeek-R1-UD-Q2_K_XL/DeepSeek-R1-UD-Q2_K_XL-00001-of-00005.gguf"),
        (R1, "Q2_K", "DeepSeek-R1-Q2_K/DeepSeek-R1-Q2_K-00001-of-00005.gguf"),
        (R1, "Q8_0", "DeepSeek-R1-Q8_0/DeepSeek-R1.Q8_0-00001-of-00015.gguf"),
        (R1, "bf16", "DeepSeek-R1-BF16/DeepSeek-R1.BF16-00001-of-00030.gguf"),
        (R1, "latest", "DeepSeek-R1-Q4_K_M/DeepSeek-R1-Q4_K_M-00001-of-00009.gguf"),
        (V3, "Q2_K_XL", "UD-Q2_K_XL/DeepSeek-V3-0324-UD-Q2_K_XL-00001-of-00006.gguf"),
        (V3, "UD-Q4_K_XL", "UD-Q4_K_XL/DeepSeek-V3-0324-UD-Q4_K_XL-00001-of-00009.gguf"),
        (V3, "0324-Q4_K_M", "Q4_K_M/DeepSeek-V3-0324-Q4_K_M-00001-of-00009.gguf"),
        (V3, "latest", "Q4_K_M/DeepSeek-V3-0324-Q4_K_M-00001-of-00009.gguf"),
        ([file for file in V3 if "Q4_K_M" not in file.path], "latest", V3[10].path),
        (SINGLE, "latest", "Lite-Q4_K_M.gguf"),
        (SINGLE, "IQ4_XS", "Lite.IQ4_XS.gguf"),
        (SINGLE, "FP16", "lite-fp16.gguf"),
        (SINGLE, "Q8_0", "Lite-Q8_0.gguf"),
        (SINGLE, "Lite-Q8_0.gguf", "Lite-Q8_0.gguf"),
        ([HubFile("model.gguf", GB, "a" * 64)], "latest", "model.gguf"),
        ([HubFile("Q6_K/model.GGUF", GB, "a" * 64), *SINGLE], "q6_k", "Q6_K/model.GGUF"),
    ],
)
def test_what_a_tag_means(files, tag, first):
    found = resolve("ns/repo", files, tag)
    assert found.files[0].path == first
    assert found.complete
    assert [file.path for file in found.files] == sorted(file.path for file in found.files)


def test_an_unknown_tag_lists_what_there_is_with_sizes():
    with pytest.raises(NoSuchQuant) as caught:
        resolve("unsloth/DeepSeek-R1-GGUF", R1, "Q3_K_M")
    lines = str(caught.value).splitlines()
    assert lines[0] == "unsloth/DeepSeek-R1-GGUF has no Q3_K_M; it has:"
    assert lines[1].split() == [
        "UD-IQ1_S",
        "140",
        "GB",
        IQ1_S,
    ]
    assert len(lines) == 9
    assert "mmproj" not in str(caught.value)


def test_an_ambiguous_tag_lists_the_candidates():
    files = [HubFile("A-Q4_K_M.gguf", 5 * GB, "a" * 64), HubFile("B-Q4_K_M.gguf", 6 * GB, "b" * 64)]
    with pytest.raises(NoSuchQuant, match=r"Q4_K_M may mean several models of r; name one of these files:"):
        resolve("r", files, "Q4_K_M")
    assert resolve("r", files, "B-Q4_K_M.gguf").files == (files[1],)
    with pytest.raises(NoSuchQuant, match="several models"):
        resolve("r", files)


def test_a_missing_shard_is_said():
    files = [file for file in R1 if "00002-of-00003" not in file.path]
    with pytest.raises(NoSuchQuant, match="has only 2 of the 3 shards of DeepSeek-R1-UD-IQ1_S"):
        resolve("r", files, "IQ1_S")


def test_a_repository_without_gguf():
    with pytest.raises(NoSuchQuant, match="no GGUF files"):
        resolve("r", [HubFile("model.safetensors", GB)], "Q4_K_M")


def test_globs_cross_folders():
    found = selected(R1, ["**Q4_K_M**"])
    assert {file.folder for file in found} == {"DeepSeek-R1-Q4_K_M"}
    assert resolve("r", found).label == "Q4_K_M"
    assert not [file for file in selected(R1, exclude=["*.gguf"]) if file.path.endswith("gguf")]


@given(st.sampled_from([R1, V3, SINGLE]), st.randoms(use_true_random=False))
def test_every_model_is_found_by_its_label_and_its_file_in_any_order(files, random):
    mixed = random.sample(files, len(files))
    for variant in variants(mixed):
        for tag in (variant.label, variant.label.lower(), variant.stem, variant.files[-1].name):
            assert resolve("r", mixed, tag) == variant
