"""Answers and models in Ollama's records."""

from datetime import UTC, datetime
from typing import Any

from ktd.daemon.chat.chat import Piece
from ktd.daemon.chat.ending import Ending
from ktd.daemon.resident import Resident
from ktd.daemon.wire import ollama
from ktd.engine.messages import TokenLogprob
from ktd.registry.record import Details, ModelRecord

NOTHING = Piece()


def chat_line(model: str, piece: Piece) -> ollama.ChatAnswer:
    return ollama.ChatAnswer(model=model, done=False, message=_message(piece), logprobs=_logprobs(piece))


def chat_end(model: str, ending: Ending, piece: Piece = NOTHING) -> ollama.ChatAnswer:
    return ollama.ChatAnswer(
        model=model, done=True, message=_message(piece), logprobs=_logprobs(piece), **_figures(ending)
    )


def chat_state(model: str, reason: str) -> ollama.ChatAnswer:
    """The reply to a load or unload."""
    return ollama.ChatAnswer(model=model, done=True, done_reason=reason, message=_message(NOTHING))


def chat_debug(model: str, prompt: str) -> ollama.ChatAnswer:
    """The reply to a request that only wanted its prompt rendered."""
    info = ollama.DebugInfo(prompt)
    return ollama.ChatAnswer(model=model, done=True, message=_message(NOTHING), debug_info=info)


def generate_line(model: str, piece: Piece) -> ollama.GenerateAnswer:
    return ollama.GenerateAnswer(
        model=model,
        done=False,
        response=piece.content,
        thinking=piece.thinking,
        logprobs=_logprobs(piece),
    )


def generate_end(model: str, ending: Ending, raw: bool, piece: Piece = NOTHING) -> ollama.GenerateAnswer:
    return ollama.GenerateAnswer(
        model=model,
        done=True,
        response=piece.content,
        thinking=piece.thinking,
        context=[] if raw else list(ending.done.context),
        logprobs=_logprobs(piece),
        **_figures(ending),
    )


def generate_state(model: str, reason: str) -> ollama.GenerateAnswer:
    """The reply to a load or unload."""
    return ollama.GenerateAnswer(model=model, done=True, done_reason=reason, response="")


def generate_debug(model: str, prompt: str) -> ollama.GenerateAnswer:
    """The reply to a request that only wanted its prompt rendered."""
    info = ollama.DebugInfo(prompt)
    return ollama.GenerateAnswer(model=model, done=True, response="", debug_info=info)


def model(record: ModelRecord) -> ollama.Model:
    return ollama.Model(
        name=str(record.name),
        model=str(record.name),
        modified_at=timestamp(record.modified_at),
        size=record.size,
        digest=record.digest,
        details=details(record.details),
        capabilities=list(record.capabilities),
    )


def loaded_model(resident: Resident, record: ModelRecord) -> ollama.LoadedModel:
    """One of the models that are in memory there."""
    worker, progress = resident.worker, resident.progress
    return ollama.LoadedModel(
        name=str(record.name),
        model=str(record.name),
        size=worker.loaded.memory + worker.loaded.gpu_memory if worker else record.size,
        digest=record.digest,
        details=details(record.details),
        expires_at=timestamp(resident.expires_at),
        size_vram=worker.loaded.gpu_memory if worker else 0,
        context_length=worker.loaded.context if worker else resident.asked or 0,
        kv_cache_type=worker.loaded.cache_type if worker else "",
        loading=None if worker else ollama.Progress(progress.done, progress.total),
        placement=placement(resident),
    )


def placement(resident: Resident) -> list[ollama.Placed]:
    """Where everything went; nothing while it loads."""
    rows = resident.worker.loaded.placement if resident.worker else ()
    return [ollama.Placed(row.part, row.device, row.bytes, row.reason) for row in rows]


def details(facts: Details) -> ollama.Details:
    return ollama.Details(
        parent_model=facts.parent_model,
        format=facts.format,
        family=facts.family,
        families=list(facts.families),
        parameter_size=facts.parameter_size,
        quantization_level=facts.quantization_level,
        context_length=facts.context_length or 0,
        embedding_length=facts.embedding_length or 0,
    )


def timestamp(when: datetime) -> str:
    """RFC 3339 with six digits: what both Go and every Python can read."""
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _figures(ending: Ending) -> dict[str, Any]:
    done = ending.done
    return {
        "done_reason": done.reason,
        "total_duration": ending.total_ns,
        "load_duration": ending.load_ns,
        "prompt_eval_count": done.prompt_tokens,
        "prompt_eval_duration": done.prompt_ns,
        "eval_count": done.output_tokens,
        "eval_duration": done.output_ns,
    }


def _message(piece: Piece) -> ollama.Message:
    calls = [ollama.ToolCall(call.id, ollama.Function(call.index, call.name, call.arguments)) for call in piece.calls]
    return ollama.Message("assistant", piece.content, piece.thinking, calls)


def _logprobs(piece: Piece) -> list[ollama.Logprob]:
    return [
        ollama.Logprob(*_token(each), [ollama.TokenLogprob(*_token(best)) for best in each.top])
        for each in piece.logprobs
    ]


def _token(of: TokenLogprob) -> tuple[str, float, list[int]]:
    return of.piece.decode(errors="replace"), of.logprob, list(of.piece)
