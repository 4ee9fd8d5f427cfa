"""Style: how a model marks thinking and tool calls in its text, read off its chat template."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tags:
    opening: str
    closing: str


THINK = Tags("<think>", "</think>")
TOOL_CALLS = Tags("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")
TOOL_CALL = Tags("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>")
TOOL_SEPARATOR = "<｜tool▁sep｜>"


@dataclass(frozen=True, slots=True)
class Style:
    thinks: bool
    calls_tools: bool  # in DeepSeek's format, the one that `calls.py` reads
    fenced: bool = False  # arguments stand in a fenced block, as R1 and V3 write them; V3.1 does not

    @staticmethod
    def of(template: str) -> "Style":
        return Style(
            thinks=THINK.closing in template,
            calls_tools=TOOL_CALLS.opening in template and TOOL_SEPARATOR in template,
            fenced="```json" in template,
        )

    @property
    def between_calls(self) -> str:
        return "\n" if self.fenced else ""

    def around_arguments(self, name: str) -> tuple[str, str]:
        """What comes before and after the arguments of a call."""
        if self.fenced:
            return f"function{TOOL_SEPARATOR}{name}\n```json\n", "\n```"
        return name + TOOL_SEPARATOR, ""

    def markers(self, tools: bool) -> tuple[str, ...]:
        """Special tokens that must reach us as text; tool tags only when the client offered tools."""
        think = (THINK.opening, THINK.closing) if self.thinks else ()
        calls = (
            TOOL_CALLS.opening,
            TOOL_CALLS.closing,
            TOOL_CALL.opening,
            TOOL_CALL.closing,
            TOOL_SEPARATOR,
        )
        return think + (calls if tools and self.calls_tools else ())
