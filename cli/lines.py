"""The lines that a user types in a conversation: their editor, their history, and messages of several of them."""

import os
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from ktd.cli import settings

PROMPT, MORE = ">>> ", "... "
QUOTES = '"""'
PLACEHOLDER = FormattedText([("ansibrightblack", "Send a message (/? for help)")])
MORE_PLACEHOLDER = FormattedText([("ansibrightblack", f"{QUOTES} ends the message")])
SYSTEM = "/set system "


class Lines:
    """Reads messages. Raises KeyboardInterrupt and EOFError as they are typed."""

    def __init__(self) -> None:
        self._history = KeptHistory.at(settings.home())
        if editor := settings.variable("EDITOR"):
            os.environ["VISUAL"] = editor  # where prompt_toolkit looks first
        self.keep(settings.variable("NOHISTORY") is None)
        self._session: PromptSession[str] = PromptSession(history=self._history, key_bindings=_keys())

    def keep(self, wanted: bool) -> None:
        """Whether what is typed from now on is still there in later conversations."""
        if isinstance(self._history, KeptHistory):
            self._history.open = wanted

    async def message(self) -> str:
        line = (await self._session.prompt_async(PROMPT, placeholder=PLACEHOLDER)).strip()
        if line.removeprefix(SYSTEM).startswith(QUOTES):
            return await self._rest(line.replace(QUOTES, "", 1))
        return line

    async def _rest(self, text: str) -> str:
        """The other lines of a quoted message, to the one that closes it."""
        while not text.rstrip().endswith(QUOTES):
            text += "\n" + await self._session.prompt_async(MORE, placeholder=MORE_PLACEHOLDER)
        return text.rstrip().removesuffix(QUOTES).strip("\n")


class KeptHistory(FileHistory):
    """A file in the home, written to while it is `open`."""

    open = True

    @classmethod
    def at(cls, home: Path) -> History:
        """A home that cannot be written only costs the history."""
        path = home / "history"
        try:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
        except OSError:
            return InMemoryHistory()
        return cls(path)

    def store_string(self, string: str) -> None:
        if self.open:
            super().store_string(string)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("c-g")
    def edit(event: KeyPressEvent) -> None:
        """The message so far, in the user's editor."""
        event.current_buffer.open_in_editor()

    return keys
