import json
from urllib.parse import urlencode

import click

from ktd.cli import human, session
from ktd.cli.client import Client
from ktd.cli.screen import say

HEADER = ("REPOSITORY", "SOURCE", "DOWNLOADS", "UPDATED")


@click.command("search")
@click.argument("query", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Results of each hub.")
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's own records.")
def command(query: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Find GGUF repositories at Hugging Face and ModelScope.

    \b
      ktd search deepseek r1
      ktd search unsloth/DeepSeek
    """

    async def search(client: Client) -> None:
        words = urlencode({"query": " ".join(query), "limit": limit})
        found = await client.request("GET", f"/api/search?{words}")
        repos = list(found["repos"])
        rows = [(one["repo"], one["source"], str(one["downloads"] or ""), one["updated"] or "") for one in repos]
        say(json.dumps(repos, indent=2) if as_json else human.table(HEADER, rows))
        for problem in found["problems"]:
            say(problem, err=True)

    session.run(search)
