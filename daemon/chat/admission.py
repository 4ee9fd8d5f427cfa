"""Admission: whether a model can do what is asked of it, told before it is loaded."""

from dataclasses import replace

from ktd.daemon.chat.chat import Chat
from ktd.daemon.chat.style import Style
from ktd.daemon.errors import NotSupported
from ktd.registry.record import ModelRecord


class Admission:
    def __init__(self, drop_tools: bool) -> None:
        """`drop_tools`: a model that calls none is asked without them, as some clients send some with every chat."""
        self._drop_tools = drop_tools

    def admit(self, record: ModelRecord, ask: Chat, asked_name: str) -> Chat:
        """What the model is to be asked. Raises NotSupported, in Ollama's words."""
        require_answers(record, asked_name, "chat")
        if not (ask.template or record.template):
            raise NotSupported(f'"{asked_name}" has no chat template: only raw prompts can be answered')
        if ask.think and "thinking" not in record.capabilities:
            raise NotSupported(f'"{asked_name}" does not support thinking')
        if ask.tools and (problem := _problem_with_tools(record)):
            if ask.forced or not self._drop_tools:
                raise NotSupported(problem)
            return replace(ask, tools=())
        return ask


def require_answers(record: ModelRecord, asked_name: str, what: str) -> None:
    """Some models make vectors of texts, and nothing else. Raises NotSupported."""
    if "completion" not in record.capabilities:
        raise NotSupported(f'"{asked_name}" does not support {what}')


def _problem_with_tools(record: ModelRecord) -> str | None:
    if "tools" not in record.capabilities:
        return f"{record.name} does not support tools"
    if not Style.of(record.template or "").calls_tools:
        return f"{record.name} writes tool calls in a format that this version of ktd cannot read"
    return None
