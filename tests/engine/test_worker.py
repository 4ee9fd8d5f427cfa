"""The real worker process, through the daemon's client."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import demo
import pytest
import pytest_asyncio
from answers import GREEDY, ask, chat

from ktd.engine.client import EngineClient, JobFailed, LoadRefused, WorkerDied, WorkerHandle
from ktd.engine.messages import Delta, Done, Load, LoadProgress, Prompt, Sampling

Start = Callable[..., Awaitable[WorkerHandle]]
ENDLESS = Sampling(temperature=2.0, top_k=0, top_p=1.0, seed=3)  # noise rarely ends by itself


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    workers = []

    async def load(path: Path = demo.Q8_0, **options: Any) -> WorkerHandle:
        worker = await EngineClient().load(Load((str(path),), **options))
        workers.append(worker)
        return worker

    yield load
    for worker in workers:
        await worker.close()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_load_reports_progress_and_placement() -> None:
    progress: list[LoadProgress] = []
    worker = await EngineClient().load(Load((str(demo.Q8_0),), context=1000, threads=1), progress.append)
    loaded = worker.loaded
    assert loaded.architecture == "deepseek2" and loaded.context == 1000 and loaded.gpu_memory == 0
    assert loaded.memory == sum(row.bytes for row in loaded.placement)
    assert [step.done for step in progress] == sorted(step.done for step in progress)
    assert progress[-1].done == progress[-1].total
    assert worker.alive and not gone(worker.pid)
    await worker.close()
    assert not worker.alive and gone(worker.pid)
    await worker.close()


async def test_many_jobs_over_one_socket(start: Start) -> None:
    worker = await start()
    alone = await ask(worker, chat("What is 12 + 30?"))
    assert "42" in alone.text
    answers = await asyncio.gather(*(ask(worker, chat(f"What is 12 + {n}?")) for n in range(30, 38)))
    assert [str(12 + n) in heard.text for n, heard in zip(range(30, 38), answers, strict=True)] == [True] * 8
    assert answers[0].text == alone.text


async def test_embeddings_beside_an_answer(start: Start) -> None:
    worker = await start()
    texts = [Prompt("a token"), Prompt("another"), Prompt("", before=(5, 6))]
    embedded, heard = await asyncio.gather(worker.embed(texts), ask(worker, chat("What is 12 + 30?")))
    assert "42" in heard.text
    assert len({len(vector) for vector in embedded.vectors}) == 1 and embedded.tokens[2] == 2
    assert (await worker.embed(texts[1:2])).tokens == embedded.tokens[1:2]
    with pytest.raises(JobFailed, match="more than the context") as failed:
        await worker.embed([Prompt("word " * 40_000)], truncate=False)
    assert failed.value.kind == "prompt_too_long"


async def test_a_slow_reader_holds_up_nobody(start: Start) -> None:
    worker = await start()
    async with aclosing(worker.generate(Prompt(chat("Tell me a story.")), GREEDY)) as slow:
        first = await anext(slow)
        assert isinstance(first, Delta)
        assert (await ask(worker, chat("Hello!"))).done.reason == "stop"
        records = [first, *[record async for record in slow]]
    assert isinstance(records[-1], Done) and records[-1].reason == "stop"


async def test_closing_the_generator_cancels_the_job(start: Start) -> None:
    worker = await start(context=2048)
    answer = worker.generate(Prompt(chat("Tell me a story.")), ENDLESS)
    await anext(answer)
    await answer.aclose()
    assert (await ask(worker, chat("Hello!"))).done.reason == "stop"
    before = cpu_ticks(worker.pid)
    await asyncio.sleep(0.5)
    assert cpu_ticks(worker.pid) - before <= 2  # at 100 ticks a second: nothing runs, nothing polls


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


async def test_a_failed_job_leaves_the_worker_as_it_was(start: Start) -> None:
    worker = await start(context=64)
    with pytest.raises(JobFailed, match="the context of 64 tokens") as failed:
        await ask(worker, chat("one two three " * 50))
    assert failed.value.kind == "prompt_too_long"
    mistyped: Any = {"top_k": "many"}
    for bad in (Sampling(temperature=-1.0), Sampling(seed=1 << 80), Sampling(**mistyped)):
        with pytest.raises(JobFailed) as failed:
            await ask(worker, "a", bad)
        assert failed.value.kind == "bad_request"
    with pytest.raises(JobFailed, match="surrogates"):
        await ask(worker, "\ud800")
    assert (await ask(worker, chat("Hello!"))).done.reason == "stop"


async def test_a_killed_worker_is_told_of_and_replaced(start: Start) -> None:
    worker = await start()
    answer = worker.generate(Prompt(chat("Tell me a story.")), ENDLESS)
    await anext(answer)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerDied, match="killed by SIGKILL"):
        async for _ in answer:
            pass
    assert not worker.alive
    with pytest.raises(WorkerDied, match="killed by SIGKILL"):
        await ask(worker, "a")
    again = await start()
    assert "42" in (await ask(again, chat("What is 12 + 30?"))).text


async def test_unloading_ends_the_jobs_that_run(start: Start) -> None:
    worker = await start()
    answer = worker.generate(Prompt(chat("Tell me a story.")), ENDLESS)
    await anext(answer)
    await worker.close()
    with pytest.raises(WorkerDied, match="unloaded"):
        async for _ in answer:
            pass


async def test_a_worker_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KTD_ISA", "z80")
    with pytest.raises(LoadRefused, match="z80") as refused:
        await EngineClient().load(Load((str(demo.Q8_0),)))
    assert refused.value.kind == "bad_option"
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(WorkerDied, match="exit code 1"):
        await EngineClient().load(Load((str(demo.Q8_0),)))


async def test_cancelling_a_load_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []
    spawn = asyncio.create_subprocess_exec

    async def remember(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
        process = await spawn(*arguments, **options)
        pids.append(process.pid)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remember)
    task = asyncio.create_task(EngineClient().load(Load((str(demo.Q8_0),))))
    while not pids:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(pids[0])


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"threads": 0}, "0 threads"), ({"threads": 100_000}, "threads"), ({"context": 0}, "context of 0 tokens")],
)
async def test_impossible_options_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(LoadRefused, match=problem) as refused:
        await EngineClient().load(Load((str(demo.Q8_0),), **options))
    assert refused.value.kind == "bad_option"


@pytest.mark.parametrize("kept", [0, 3, 100, 40_000, 200_000, 13_000_000])
async def test_truncated_files_are_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(demo.Q8_0.read_bytes()[:kept])
    with pytest.raises(LoadRefused, match=r"cut\.gguf") as refused:
        await EngineClient().load(Load((str(path),)))
    assert refused.value.kind == "bad_file"


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (b"GGUF", b"GGUG", "not a GGUF file"),
        (b"blk.3.attn_norm", b"blk.3.attn_nor\xed", "UTF-8"),
        (b"blk.3.attn_norm", b"blk.3.attn_norl", r"'blk\.3\.attn_norm\.weight' of shape \{256\} is missing"),
        (b"deepseek2.embedding_length\x04\0\0\0\0\x01", b"deepseek2.embedding_length\x04\0\0\0\0\x03", "shape"),
        (b"deepseek2.block_count\x04\0\0\0\x05", b"deepseek2.block_count\x04\0\0\0\x15", r"blk\.5\.attn_norm"),
        (b"deepseek-v3", b"deepseek-v7", "'deepseek-v7' is unknown"),
    ],
)
async def test_flipped_bits_are_refused_with_the_place(
    tmp_path: Path, before: bytes, after: bytes, problem: str
) -> None:
    data = demo.Q8_0.read_bytes()
    assert before in data
    path = tmp_path / "flipped.gguf"
    path.write_bytes(data.replace(before, after, 1))
    with pytest.raises(LoadRefused, match=problem):
        await EngineClient().load(Load((str(path),)))


async def test_more_memory_than_there_is_is_refused(tmp_path: Path) -> None:
    """A context as long as the metadata claims would take terabytes."""
    data, key = demo.Q8_0.read_bytes(), b"deepseek2.context_length\x04\0\0\0"
    path = tmp_path / "long.gguf"
    path.write_bytes(data.replace(key + b"\0\x08\0\0", key + b"\xff\xff\xff\x7f", 1))
    with pytest.raises(LoadRefused, match="requires more system memory") as refused:
        await EngineClient().load(Load((str(path),), context=2**31 - 1))
    assert refused.value.kind == "out_of_memory"


DAEMON = """
import asyncio, sys
from ktd.engine.client import EngineClient
from ktd.engine.messages import Load, Prompt, Sampling

async def main():
    worker = await EngineClient().load(Load((sys.argv[1],)))
    print(worker.pid, flush=True)
    async for record in worker.generate(Prompt("a"), Sampling(temperature=2.0, top_k=0, top_p=1.0)):
        print("token", flush=True)

asyncio.run(main())
"""


def test_a_worker_does_not_outlive_its_daemon() -> None:
    command = [sys.executable, "-P", "-c", DAEMON, str(demo.Q8_0)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        assert daemon.stdout.readline() == "token\n" and not gone(pid)
        daemon.kill()
    for _ in range(1000):
        if gone(pid):
            return
        os.sched_yield()
        asyncio.run(asyncio.sleep(0.01))
    pytest.fail("the worker is still there")


def test_the_client_is_light() -> None:
    code = "import sys, ktd.engine.client; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "tokenizers", "torch", "ktd.engine._core"} & set(result.stdout.split())


async def test_a_worker_reads_and_writes_tokens_while_it_answers(start: Start) -> None:
    worker = await start()
    async with aclosing(worker.generate(Prompt("a"), ENDLESS)) as answer:
        await anext(answer)
        tokens = await worker.tokenize(Prompt("What is 12 + 30?"), bos=False)
        assert await worker.detokenize(tokens) == "What is 12 + 30?"
        with pytest.raises(JobFailed, match="token 99999 is outside the vocabulary"):
            await worker.detokenize((99999,))
        with pytest.raises(JobFailed):
            await worker.detokenize((1 << 80,))
    asking = asyncio.create_task(worker.tokenize(Prompt("x")))
    await asyncio.sleep(0)
    asking.cancel()
    assert "42" in (await ask(worker, chat("What is 12 + 30?"))).text
    await worker.close()
    with pytest.raises(WorkerDied):
        await worker.tokenize(Prompt("x"))
