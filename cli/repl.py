"""The conversation on a terminal: messages, and commands that begin with a slash."""

import asyncio
import signal
from collections.abc import Coroutine

from ktd.cli.chat import Chat
from ktd.cli.client import Client, CliError
from ktd.cli.lines import Lines
from ktd.cli.screen import say
from ktd.cli.slash import Mistake, Slash
from ktd.cli.waiting import Waiting


class Repl:
    """Reads messages until /bye or Ctrl-D. An error of the daemon ends an answer, not the conversation."""

    def __init__(self, client: Client, chat: Chat) -> None:
        self._client = client
        self._chat = chat
        self._lines = Lines()
        self._slash = Slash(client, chat, self._lines)

    async def run(self) -> None:
        async with Waiting(self._client):
            await self._chat.load(self._client)
        while (text := await self._read()) is not None:
            if text:
                await stoppable(self._obey(text))

    async def _read(self) -> str | None:
        """The next message, "" when there is none, None at the end."""
        try:
            text = await self._lines.message()
        except KeyboardInterrupt:
            say("Use Ctrl + d or /bye to exit.")
            return ""
        except EOFError:
            return None
        return None if text in ("/bye", "/exit") else text

    async def _obey(self, text: str) -> None:
        if text.startswith("/"):
            return await self._slash.obey(text)
        await self._chat.say(self._client, text)
        say()


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
