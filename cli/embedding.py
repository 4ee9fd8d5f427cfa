"""The vector of a text, from a model that embeds texts and answers none."""

import json
from dataclasses import dataclass

from ktd.cli.client import Client, CliError
from ktd.cli.screen import say


@dataclass
class Embedding:
    model: str
    keep_alive: str | None = None
    dimensions: int | None = None
    truncate: bool | None = None

    async def show(self, client: Client, text: str) -> None:
        """Print it as one line of JSON."""
        if not text:
            raise CliError(f"{self.model} embeds texts: give it one, as an argument or through a pipe")
        wanted = {"keep_alive": self.keep_alive, "dimensions": self.dimensions, "truncate": self.truncate}
        asked = {key: value for key, value in wanted.items() if value is not None}
        reply = await client.request("POST", "/api/embed", {"model": self.model, "input": text} | asked)
        say(json.dumps(reply["embeddings"][0]))
