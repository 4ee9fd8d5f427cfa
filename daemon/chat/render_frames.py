"""Frames between the daemon and the processes that render chat templates, for both: no Jinja in the daemon itself.

One frame is a little-endian u32 length and JSON: `{"template", "variables"}` in, `{"text"}` or `{"error"}` out.
"""

import json
import struct
from typing import Any

SECONDS = 5.0  # of processor time for a render
HEADER = struct.Struct("<I")


def pack(record: dict[str, Any]) -> bytes:
    body = json.dumps(record).encode()
    return HEADER.pack(len(body)) + body
