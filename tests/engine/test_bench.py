import json
import subprocess
import sys

import demo
import headers

from ktd.engine.bench import bytes_per_token
from ktd.engine.gguf import Gguf
from ktd.engine.models import spec_for


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "ktd.engine.bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_token_reads_the_experts_it_uses_and_one_row_of_the_embedding() -> None:
    gguf = headers.deepseek2()
    sizes = {name: tensor.nbytes for name, tensor in gguf.tensors.items()}
    experts = sum(size for name, size in sizes.items() if "_exps" in name)
    embedding = sizes["token_embd.weight"]
    unused = experts * 6 // 8 + embedding * 95 // 96
    assert bytes_per_token(spec_for(gguf), sizes) == sum(sizes.values()) - unused


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
    decode = report["tests"][1]["tokens_per_second"]
    assert report["bandwidth_used"] == decode * report["bytes_per_token"] / report["bandwidth"]
    assert 0 < report["bandwidth_used"] < 1


def test_table() -> None:
    result = bench("--prompt", "0", "--generate", "3", "--repeat", "1", str(demo.Q8_0))
    assert result.returncode == 0, result.stderr
    assert "pp" not in result.stdout.split("test")[1] and "tg3" in result.stdout
    assert "% of bandwidth" in result.stdout and "GB/s" in result.stdout


def test_errors_are_one_line() -> None:
    missing = bench("no such file.gguf")
    assert missing.returncode == 1 and missing.stderr.startswith("error: no such file.gguf")
    long = bench("--prompt", "5000", str(demo.Q8_0))
    assert long.returncode == 1 and "context ends at 2048" in long.stderr
    assert bench("--repeat", "0", str(demo.Q8_0)).returncode == 2
    assert bench("--threads", "0", str(demo.Q8_0)).stderr == "error: 0 threads cannot compute anything\n"
