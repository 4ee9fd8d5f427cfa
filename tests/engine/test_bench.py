import json
import subprocess
import sys

import demo
import headers
import pytest

from ktd.engine.gguf import Gguf
from ktd.engine.models import spec_for
from ktd.engine.roofline import products, weight_bytes
from ktd.engine.spec import MlaAttention


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "ktd.engine.bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_token_reads_the_experts_it_uses_and_one_row_of_the_embedding() -> None:
    gguf = headers.deepseek2()
    sizes = {name: tensor.nbytes for name, tensor in gguf.tensors.items()}
    experts = sum(size for name, size in sizes.items() if "_exps" in name)
    embedding = sizes["token_embd.weight"]
    unused = experts * 6 / 8 + embedding * 95 / 96
    assert weight_bytes(spec_for(gguf), sizes) == round(sum(sizes.values()) - unused)


def test_tokens_that_choose_evenly_share_experts() -> None:
    """Of 8 experts a token chooses 2: two tokens choose 2 + 2 * 6/8 different ones, many all."""
    gguf = headers.deepseek2()
    sizes = {name: tensor.nbytes for name, tensor in gguf.tensors.items()}
    experts = sum(size for name, size in sizes.items() if "_exps" in name)
    row = sizes["token_embd.weight"] / 96
    one, two, many = (weight_bytes(spec_for(gguf), sizes, tokens) for tokens in (1, 2, 1000))
    assert two - one == round(experts * 1.5 / 8 + row)
    assert many - one == round(experts * 6 / 8 + 999 * row)


def test_products_grow_with_the_context() -> None:
    spec = spec_for(headers.deepseek2())
    attention = [stage for stage in spec.stages if isinstance(stage, MlaAttention)]
    a_key = sum(stage.heads * (stage.cache_width + stage.kv_lora) for stage in attention)
    assert products(spec, 100) - products(spec, 0) == 100 * a_key


def test_json_report() -> None:
    result = bench("--json", "--prompt", "40", "--generate", "5", "--repeat", "2", "--threads", "1", str(demo.Q8_0))
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    with Gguf.open(demo.Q8_0) as gguf:
        assert report["weights"] == sum(tensor.nbytes for tensor in gguf.tensors.values())
    assert report["architecture"] == "deepseek2" and report["threads"] == 1
    assert [(test["name"], test["tokens"], len(test["runs"])) for test in report["tests"]] == [
        ("pp40", 40, 2),
        ("tg5", 5, 2),
    ]
    for test in report["tests"]:
        assert 0 < test["bandwidth_used"] < 1 and 0 < test["products_used"] < 1
    decode = report["tests"][1]
    assert decode["step_bytes"] > report["bytes_per_token"]  # the cache too
    used = decode["tokens_per_second"] * decode["step_bytes"] / report["roofs"]["bandwidth"]
    assert decode["bandwidth_used"] == pytest.approx(used)


def test_contexts_and_batches() -> None:
    words = ("--prefill", "0", "--decode", "2", "--ctx", "0,1000", "--batch", "1,4", "--cache-type", "q8_0")
    result = bench("--json", *words, "--repeat", "1", str(demo.Q8_0))
    assert result.returncode == 0, result.stderr
    tests = json.loads(result.stdout)["tests"]
    assert [test["name"] for test in tests] == ["tg2", "tg2x4", "tg2@1000", "tg2@1000x4"]
    assert [(test["ctx"], test["batch"], test["tokens"]) for test in tests[2:]] == [(1000, 1, 2), (1000, 4, 8)]
    assert tests[2]["step_bytes"] > tests[0]["step_bytes"] and tests[2]["step_products"] > tests[0]["step_products"]


def test_table() -> None:
    result = bench("--prompt", "0", "--generate", "3", "--ctx", "64", "--repeat", "1", str(demo.Q8_0))
    assert result.returncode == 0, result.stderr
    assert "\npp" not in result.stdout and "\ntg3@64" in result.stdout
    assert "bandwidth" in result.stdout and "GB/s" in result.stdout


def test_errors_are_one_line() -> None:
    missing = bench("no such file.gguf")
    assert missing.returncode == 1 and missing.stderr.startswith("error: no such file.gguf")
    long = bench("--prompt", "5000", str(demo.Q8_0))
    assert long.returncode == 1 and "context ends at 2048" in long.stderr
    for words in (("--repeat", "0"), ("--ctx", "1,x"), ("--batch", "0"), ("--prompt", "0", "--generate", "0")):
        assert bench(*words, str(demo.Q8_0)).returncode == 2
    assert bench("--threads", "0", str(demo.Q8_0)).stderr == "error: 0 threads cannot compute anything\n"
