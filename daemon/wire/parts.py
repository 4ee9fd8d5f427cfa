"""Parts of a message that are no text, whatever a dialect calls them: this version's models read text only."""

from ktd.daemon.errors import BadRequest, NotSupported

KINDS = {
    "image": "images",
    "image_url": "images",
    "input_image": "images",
    "audio": "audio",
    "input_audio": "audio",
    "document": "files",
    "file": "files",
    "input_file": "files",
}


def refusal(kind: str) -> BadRequest:
    """Why a part of this type cannot be read."""
    if kind in KINDS:
        return NotSupported(f"this model does not support {KINDS[kind]}")
    return BadRequest(f"unknown type of content: {kind!r}")
