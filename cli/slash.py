"""What begins with a slash in a conversation: settings of the session, questions about the model, other models."""

import textwrap
from collections.abc import Awaitable, Callable

from ktd.cli import description, human
from ktd.cli.chat import PARAMETERS, THINK, Chat, parameter, wanted_format
from ktd.cli.client import Client, NotFound, Record
from ktd.cli.commands import list as models
from ktd.cli.lines import QUOTES, Lines
from ktd.cli.screen import say
from ktd.cli.waiting import Waiting

HELP = f"""\
  /set parameter NAME VALUE   see below; `stop` takes several values
  /set system TEXT            what the model is told first; no text: nothing
  /set think [LEVEL]          let it think (low, medium, high, max); /set nothink: do not
  /set format json            answer in JSON, or by a JSON schema or its file; /set noformat: freely
  /set verbose                timings after each answer; /set quiet: none
  /set wordwrap               break lines at words; /set nowordwrap: anywhere
  /set history                keep what is typed; /set nohistory: do not
  /show info                  the model; also parameters, system, template, license, modelfile
  /list                       the models on this machine
  /load MODEL                 go on with another model, from the beginning
  /save MODEL                 make a model of this session: its parameters, system text and messages
  /clear                      forget what was said
  /? shortcuts                keys
  /bye                        leave; Ctrl-D too

Parameters:
{textwrap.fill(", ".join(PARAMETERS), 78, initial_indent="  ", subsequent_indent="  ")}
{QUOTES} begins and ends a message of several lines. Ctrl-C stops an answer."""

SHORTCUTS = """\
  Ctrl-A, Home      to the beginning of the line       Ctrl-E, End    to its end
  Alt-B, Ctrl-Left  back by a word                     Alt-F, Ctrl-Right  forward by a word
  Ctrl-K            delete to the end of the line      Ctrl-U         delete to its beginning
  Ctrl-W            delete the word before             Ctrl-L         clear the screen
  Up, Down          earlier messages                   Ctrl-R         search them
  Ctrl-G            write the message in an editor     Ctrl-C         stop the answer
  Ctrl-D            leave"""


class Mistake(Exception):
    """A command that cannot be obeyed; the text says why."""


class Slash:
    """Obeys the commands for one conversation."""

    def __init__(self, client: Client, chat: Chat, lines: Lines) -> None:
        self._client = client
        self._chat = chat
        self._lines = lines
        self._commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "/set": self._set,
            "/show": self._show,
            "/list": self._list,
            "/load": self._load,
            "/save": self._save,
            "/clear": self._clear,
            "/?": self._help,
            "/help": self._help,
        }

    async def obey(self, text: str) -> None:
        """Raises Mistake or CliError."""
        name, _, rest = text.partition(" ")
        command = self._commands.get(name)
        if command is None:
            raise Mistake(f"Unknown command '{name}'. Type /? for help")
        await command(rest.strip())

    async def _set(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        setters: dict[str, Callable[[str], str]] = {
            "parameter": self._set_parameter,
            "system": self._set_system,
            "think": self._set_think,
            "format": self._set_format,
        }
        if name in setters:
            return say(setters[name](value.strip()))
        self._switch(name)
        say(f"Set '{name}' mode.")

    def _switch(self, name: str) -> None:
        """The settings without a value."""
        chat, style = self._chat, self._chat.style
        match name:
            case "nothink":
                chat.think = False
            case "noformat":
                chat.format = None
            case "verbose" | "quiet":
                style.verbose = name == "verbose"
            case "wordwrap" | "nowordwrap":
                style.word_wrap = name == "wordwrap"
            case "history" | "nohistory":
                self._lines.keep(name == "history")
            case _:
                raise Mistake(f"Unknown setting '{name}'. Type /? for help")

    def _set_parameter(self, value: str) -> str:
        words = value.split()
        if len(words) < 2:
            raise Mistake("Usage: /set parameter NAME VALUE")
        try:
            self._chat.options[words[0]] = parameter(words[0], words[1:])
        except ValueError as error:
            raise Mistake(f"Couldn't set parameter: {error}") from None
        return f"Set parameter '{words[0]}' to '{' '.join(words[1:])}'"

    def _set_system(self, value: str) -> str:
        self._chat.system = value or None
        return "Set system message." if value else "Removed system message."

    def _set_think(self, value: str) -> str:
        if (value or "true") not in THINK:
            raise Mistake(f"Unknown level '{value}': low, medium, high or max")
        self._chat.think = THINK[value or "true"]
        return "Set 'think' mode."

    def _set_format(self, value: str) -> str:
        try:
            self._chat.format = wanted_format(value)
        except ValueError as error:
            raise Mistake(f"Couldn't set format: {error}") from None
        return f"Set format to '{value}' mode."

    async def _show(self, rest: str) -> None:
        part = rest or "info"
        if part not in ("info", *description.PARTS):
            raise Mistake(f"Unknown part '{part}': info, {', '.join(description.PARTS)}")
        record = await self._client.show(self._chat.model)
        if part == "info":
            return say(description.whole(record))
        own = {"system": self._chat.system, "parameters": description.lines(self._chat.options)}.get(part)
        say("\n".join(text for text in (record.get(part), own) if text) or f"No {part} was given.")

    async def _list(self, _: str) -> None:
        say(human.table(models.HEADER, [models.row(model) for model in await self._client.models("/api/tags")]))

    async def _load(self, name: str) -> None:
        if not name:
            raise Mistake("Usage: /load MODEL")
        try:
            await self._client.show(name)
        except NotFound:
            raise Mistake(f"Couldn't find model '{name}'") from None
        say(f"Loading model '{name}'")
        self._chat.model = name
        self._chat.messages.clear()
        async with Waiting(self._client):
            await self._chat.load(self._client)

    async def _save(self, name: str) -> None:
        if not name:
            raise Mistake("Usage: /save MODEL")
        chat = self._chat
        texts: Record = {"system": chat.system, "parameters": chat.options, "messages": chat.messages}
        body: Record = {"model": name, "from": chat.model, "stream": False}
        await self._client.request("POST", "/api/create", body | {key: text for key, text in texts.items() if text})
        say(f"Created new model '{name}'")

    async def _clear(self, _: str) -> None:
        self._chat.messages.clear()
        say("Cleared session context")

    async def _help(self, rest: str) -> None:
        say(SHORTCUTS if rest == "shortcuts" else HELP)
