"""The conversation on a terminal: messages, and commands that begin with a slash."""

import asyncio
import signal
import textwrap
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from ktd.cli import description, settings
from ktd.cli.chat import PARAMETERS, THINK, Chat, parameter
from ktd.cli.client import Client, CliError
from ktd.cli.screen import say
from ktd.cli.waiting import Waiting

PROMPT, MORE = ">>> ", "... "
PLACEHOLDER = FormattedText([("ansibrightblack", "Send a message (/? for help)")])
QUOTES = '"""'
SYSTEM = "/set system "

HELP = f"""\
  /set parameter NAME VALUE   see below; `stop` takes several values
  /set system TEXT            what the model is told first; no text: nothing
  /set think [LEVEL]          let it think (low, medium, high, max); /set nothink: do not
  /set verbose                timings after each answer; /set quiet: none
  /set wordwrap               break lines at words; /set nowordwrap: anywhere
  /show info                  the model; also parameters, system, template, license
  /clear                      forget what was said
  /bye                        leave; Ctrl-D too

Parameters:
{textwrap.fill(", ".join(PARAMETERS), 78, initial_indent="  ", subsequent_indent="  ")}
{QUOTES} begins and ends a message of several lines. Ctrl-C stops an answer."""


class Mistake(Exception):
    """A command that cannot be obeyed; the text says why."""


class Repl:
    """Reads lines until /bye or Ctrl-D. An error of the daemon ends an answer, not the conversation."""

    def __init__(self, client: Client, chat: Chat) -> None:
        self._client = client
        self._chat = chat
        self._input: PromptSession[str] = PromptSession(history=history(settings.home()))
        self._commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "/set": self._set,
            "/show": self._show,
            "/clear": self._clear,
            "/?": self._help,
            "/help": self._help,
        }

    async def run(self) -> None:
        async with Waiting(self._client):
            await self._chat.load(self._client)
        while (text := await self._read()) is not None:
            if text:
                await stoppable(self._obey(text))

    async def _read(self) -> str | None:
        """The next message, "" when there is none, None at the end."""
        try:
            line = (await self._input.prompt_async(PROMPT, placeholder=PLACEHOLDER)).strip()
            if line.removeprefix(SYSTEM).startswith(QUOTES):
                line = await self._rest(line.replace(QUOTES, "", 1))
        except KeyboardInterrupt:
            say("Use Ctrl + d or /bye to exit.")
            return ""
        except EOFError:
            return None
        return None if line in ("/bye", "/exit") else line

    async def _rest(self, text: str) -> str:
        """The other lines of a quoted message, to the one that closes it."""
        while not text.rstrip().endswith(QUOTES):
            text += "\n" + await self._input.prompt_async(MORE)
        return text.rstrip().removesuffix(QUOTES).strip("\n")

    async def _obey(self, text: str) -> None:
        if not text.startswith("/"):
            await self._chat.say(self._client, text)
            return say()
        name, _, rest = text.partition(" ")
        command = self._commands.get(name)
        if command is None:
            raise Mistake(f"Unknown command '{name}'. Type /? for help")
        await command(rest.strip())

    async def _set(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        chat, style = self._chat, self._chat.style
        match name:
            case "parameter":
                self._set_parameter(value.split())
            case "system":
                chat.system = value.strip() or None
                say("Set system message." if chat.system else "Removed system message.")
            case "think":
                if (value or "true") not in THINK:
                    raise Mistake(f"Unknown level '{value}': low, medium, high or max")
                chat.think = THINK[value or "true"]
                say("Set 'think' mode.")
            case "nothink":
                chat.think = False
                say("Set 'nothink' mode.")
            case "verbose" | "quiet":
                style.verbose = name == "verbose"
                say(f"Set '{name}' mode.")
            case "wordwrap" | "nowordwrap":
                style.word_wrap = name == "wordwrap"
                say(f"Set '{name}' mode.")
            case _:
                raise Mistake(f"Unknown setting '{name}'. Type /? for help")

    def _set_parameter(self, words: list[str]) -> None:
        if len(words) < 2:
            raise Mistake("Usage: /set parameter NAME VALUE")
        try:
            self._chat.options[words[0]] = parameter(words[0], words[1:])
        except ValueError as error:
            raise Mistake(f"Couldn't set parameter: {error}") from None
        say(f"Set parameter '{words[0]}' to '{' '.join(words[1:])}'")

    async def _show(self, rest: str) -> None:
        part = rest or "info"
        if part not in ("info", *description.PARTS):
            raise Mistake(f"Unknown part '{part}': info, {', '.join(description.PARTS)}")
        record = await self._client.show(self._chat.model)
        if part == "info":
            return say(description.whole(record))
        own = {"system": self._chat.system, "parameters": description.lines(self._chat.options)}.get(part)
        say("\n".join(text for text in (record.get(part), own) if text) or f"No {part} was given.")

    async def _clear(self, _: str) -> None:
        self._chat.messages.clear()
        say("Cleared session context")

    async def _help(self, _: str) -> None:
        say(HELP)


async def stoppable(work: Coroutine[None, None, None]) -> None:
    """Await `work`; Ctrl-C cancels it and nothing else, and what goes wrong is printed."""
    task = asyncio.ensure_future(work)
    before = signal.getsignal(signal.SIGINT)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise  # the conversation itself is being ended
        say()
    except Mistake as error:
        say(str(error))
    except CliError as error:
        error.show()
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)


def history(home: Path) -> History:
    """Earlier messages, kept in the home; a home that cannot be written only costs the history."""
    path = home / "history"
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)
