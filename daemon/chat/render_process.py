"""The process that renders chat templates: `python -P -m ktd.daemon.chat.render_process`.

It ends when its stdin does, or when nothing comes for IDLE seconds. Each render may use SECONDS of processor time,
all of them together MEMORY bytes of address space; past the first the kernel ends the process, past the second the
render fails.
"""

import json
import resource
import select
import signal
import sys
from typing import Any, BinaryIO

from ktd.daemon.chat.render_frames import HEADER, SECONDS, pack
from ktd.daemon.chat.template import render

IDLE = 300.0  # starting anew costs a tenth of a second, waiting 20 MB
MEMORY = 1 << 30
LONGEST = 16 << 20  # characters of a rendered prompt


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (request := _read(sys.stdin.buffer)) is not None:
        # The default action of SIGPROF ends the process, even inside one long C call.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        reply = _answer(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(reply)
        sys.stdout.buffer.flush()


def _answer(request: dict[str, Any]) -> bytes:
    try:
        text = render(request["template"], request["variables"])
        if len(text) > LONGEST:
            raise ValueError(f"the prompt has {len(text)} characters, more than the {LONGEST} allowed")
        text.encode()
        return pack({"text": text})
    except MemoryError:
        return pack({"error": "it needs too much memory"})
    except Exception as error:  # whatever a template can provoke is that template's failure
        return pack({"error": f"{type(error).__name__}: {error}"[:2000]})


def _read(source: BinaryIO) -> dict[str, Any] | None:
    if not select.select([source], [], [], IDLE)[0]:
        return None
    head = source.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    record: dict[str, Any] = json.loads(source.read(*HEADER.unpack(head)))
    return record


if __name__ == "__main__":
    main()
