"""Answers in the records of /v1/responses: items that follow each other, each as events and then as a whole."""

import secrets
import time
from collections.abc import Iterator
from typing import TypedDict

import msgspec

from ktd.daemon.chat.chat import Piece, ToolCall
from ktd.daemon.chat.ending import Ending
from ktd.daemon.errors import Failure
from ktd.daemon.wire import responses
from ktd.daemon.wire.to_openai import logprobs

Events = Iterator[responses.Numbered]


class Place(TypedDict):
    item_id: str
    output_index: int


class Reply:
    """One response. Its events must be taken one after the other, as each shows the response as it is then."""

    def __init__(self, request: responses.Request) -> None:
        self._begun = False
        self._numbered = 0
        self._item: responses.Thought | responses.Message | None = None  # the one that grows
        self.response = responses.Response(
            id=_id("resp"),
            created_at=int(time.time()),
            model=request.model,
            instructions=request.instructions,
            max_output_tokens=request.max_output_tokens,
            metadata=request.metadata,
            parallel_tool_calls=request.parallel_tool_calls,
            reasoning=request.reasoning,
            temperature=request.temperature,
            text=request.text,
            tool_choice=request.tool_choice,
            tools=request.tools,
            top_p=request.top_p,
            truncation=request.truncation,
        )

    def opening(self) -> Events:
        """What comes before all else, once."""
        if not self._begun:
            self._begun = True
            yield self._numbering(responses.Created(response=self.response))
            yield from self.pulse()

    def pulse(self) -> Events:
        yield from self.opening()
        yield self._numbering(responses.InProgress(response=self.response))

    def of(self, piece: Piece) -> Events:
        if piece.thinking:
            yield from self._think(piece.thinking)
        if piece.content:
            yield from self._say(piece)
        for call in piece.calls:
            yield from self._call(call)

    def closing(self, ending: Ending) -> Events:
        response, done = self.response, ending.done
        yield from self._leave("incomplete" if done.reason == "length" else "completed")
        response.usage = _usage(ending)
        if done.reason == "length":
            response.status, response.incomplete_details = "incomplete", responses.Incomplete()
            yield self._numbering(responses.Cut(response=response))
        else:
            response.status = "completed"
            yield self._numbering(responses.Completed(response=response))

    def failed(self, failure: Failure) -> responses.Numbered:
        self.response.status = "failed"
        self.response.error = responses.Problem("server_error", failure.message)
        return self._numbering(responses.Failed(response=self.response))

    def _think(self, text: str) -> Events:
        item = self._item
        if not isinstance(item, responses.Thought):
            yield from self._leave()
            item = self._item = responses.Thought(_id("rs"))
            yield self._added(item)
            item.summary.append(responses.Summary())
            yield self._numbering(responses.SummaryAdded(**self._place(item), part=item.summary[0]))
        item.summary[0].text += text
        yield self._numbering(responses.SummaryDelta(**self._place(item), delta=text))

    def _say(self, piece: Piece) -> Events:
        item = self._item
        if not isinstance(item, responses.Message):
            yield from self._leave()
            item = self._item = responses.Message(_id("msg"))
            yield self._added(item)
            item.content.append(responses.OutputText())
            yield self._numbering(responses.PartAdded(**self._place(item), part=item.content[0]))
        told = logprobs(piece)
        item.content[0].text += piece.content
        item.content[0].logprobs += told
        yield self._numbering(responses.TextDelta(**self._place(item), delta=piece.content, logprobs=told))

    def _call(self, call: ToolCall) -> Events:
        yield from self._leave()
        item = responses.FunctionCall(_id("fc"), call.id, call.name)
        yield self._added(item)
        item.arguments = msgspec.json.encode(call.arguments).decode()
        place = self._place(item)
        yield self._numbering(responses.ArgumentsDelta(**place, delta=item.arguments))
        yield self._numbering(responses.ArgumentsDone(**place, name=item.name, arguments=item.arguments))
        yield self._done(item)

    def _leave(self, status: responses.Status = "completed") -> Events:
        """End the item that grows, if there is one."""
        item, self._item = self._item, None
        if isinstance(item, responses.Thought):
            (summary,) = item.summary
            yield self._numbering(responses.SummaryTextDone(**self._place(item), text=summary.text))
            yield self._numbering(responses.SummaryDone(**self._place(item), part=summary))
            yield self._done(item, status)
        elif isinstance(item, responses.Message):
            (part,) = item.content
            place = self._place(item)
            yield self._numbering(responses.TextDone(**place, text=part.text, logprobs=part.logprobs))
            yield self._numbering(responses.PartDone(**place, part=part))
            yield self._done(item, status)

    def _added(self, item: responses.Item) -> responses.Numbered:
        self.response.output.append(item)
        return self._numbering(responses.ItemAdded(output_index=len(self.response.output) - 1, item=item))

    def _done(self, item: responses.Item, status: responses.Status = "completed") -> responses.Numbered:
        item.status = status
        return self._numbering(responses.ItemDone(output_index=len(self.response.output) - 1, item=item))

    def _place(self, item: responses.Item) -> Place:
        return {"item_id": item.id, "output_index": len(self.response.output) - 1}

    def _numbering(self, event: responses.Numbered) -> responses.Numbered:
        event.sequence_number = self._numbered
        self._numbered += 1
        return event


def _id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"


def _usage(ending: Ending) -> responses.Usage:
    done = ending.done
    total = done.prompt_tokens + done.output_tokens
    read = {"cached_tokens": done.cached_tokens, "cache_write_tokens": 0}
    written = {"reasoning_tokens": ending.thought_tokens}
    return responses.Usage(done.prompt_tokens, read, done.output_tokens, written, total)
