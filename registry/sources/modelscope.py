"""ModelScope: its own client lists, searches and builds addresses; `transfer.py` moves the bytes.

The client is `modelscope_hub`, the part of the `modelscope` package that talks to the hub: `import modelscope`
itself loads torch where that is installed.
"""

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktd.registry.errors import AccessDenied, HubRefused, HubUnreachable, NotAtHub
from ktd.registry.sources.hub import Address, Found, HubFile, Listing, base_models
from ktd.registry.sources.proxies import spare_own_addresses

if TYPE_CHECKING:
    from modelscope_hub import HubApi

ENDPOINT = "https://modelscope.cn"
MAIN = "master"
SEARCH_PAGE = 50
LINK = str(stat.S_IFLNK)  # git's mode of a symbolic link, in decimal


class ModelScope:
    name = "modelscope"
    label = "ModelScope"

    def __init__(self, endpoint: str = ENDPOINT, token: str | None = None, *, config: Path) -> None:
        """`config` is a folder for what the client remembers of itself."""
        self.endpoint = endpoint
        self._token = token
        self._config = config

    def listing(self, repo: str, revision: str | None) -> Listing:
        branch = revision or MAIN
        with self._explained(repo):
            api = self._api()
            entries = api.legacy.list_repo_files(repo, "model", revision=branch)
            files = [_file(entry) for entry in entries if entry.get("Type") != "tree"]
            bases = self._bases(api, repo)
        return Listing(repo, branch, tuple(files), bases)

    def address(self, listing: Listing, file: HubFile) -> Address:
        legacy = self._api().legacy
        url = legacy.get_download_url(listing.repo, "model", file.path, listing.revision)
        headers = {"User-Agent": "ktd"}
        if self._token:  # older routes read the cookie, newer ones the header
            headers |= {"Authorization": f"Bearer {self._token}", "Cookie": f"m_session_id={self._token}"}
        return Address(url, headers)

    def search(self, query: str, limit: int) -> list[Found]:
        with self._explained(query):
            page = self._api().list_repos("model", search=query, sort="downloads", page_size=SEARCH_PAGE)
        found = [
            Found(self.name, f"{item.owner}/{item.name}", item.downloads, _date(item.last_modified))
            for item in page.items
            if "gguf" in f"{item.name} {item.tags}".lower()
        ]
        return found[:limit]

    def _bases(self, api: "HubApi", repo: str) -> tuple[str, ...]:
        """The repositories that a card names as its origin; a card that cannot be read names none."""
        from modelscope_hub.errors import APIError

        with suppress(APIError):
            info: Any = api.legacy.get_repo_info(repo, "model")
            if isinstance(info, dict):
                return base_models(info.get("BaseModel") or info.get("base_model"))
        return ()

    def _api(self) -> "HubApi":
        from modelscope_hub import HubApi, HubConfig

        spare_own_addresses()
        # An empty token, unlike None, keeps the client from unpickling a stored login.
        config = HubConfig(
            endpoint=self.endpoint, token=self._token or "", config_dir=self._config, cache_dir=self._config / "cache"
        )
        return HubApi(config)

    @contextmanager
    def _explained(self, subject: str) -> Iterator[None]:
        from modelscope_hub import errors

        try:
            yield
        except (errors.AuthenticationError, errors.PermissionDeniedError) as error:
            raise AccessDenied(
                f"{self.label} refuses {subject}: set MODELSCOPE_API_TOKEN to a token that may read it"
            ) from error
        except errors.NotExistError as error:
            raise NotAtHub(f"{self.label} has no {subject}") from error
        except (errors.NetworkError, errors.ServerError, errors.RateLimitError) as error:
            raise HubUnreachable(f"{self.label} ({self.endpoint}) does not answer: {error!s:.200}") from error
        except errors.APIError as error:
            if error.status_code == 404:
                raise NotAtHub(f"{self.label} has no {subject}") from error
            raise HubRefused(f"{self.label} refuses {subject}: {error!s:.200}") from error
        except OSError as error:  # what requests raises
            raise HubUnreachable(f"{self.label} ({self.endpoint}) does not answer: {error!s:.200}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HubRefused(f"{self.label} ({self.endpoint}) gives an answer that is none: {error!r:.200}") from error


def _file(entry: dict[str, Any]) -> HubFile:
    """Raises `HubRefused`."""
    if str(entry.get("Mode")) == LINK:
        raise HubRefused(f"the hub lists a symbolic link: {entry.get('Path')!r:.200}")
    return HubFile.of(entry.get("Path"), entry.get("Size"), entry.get("Sha256"))


def _date(value: object) -> str | None:
    match = re.match(r"\d{4}-\d{2}-\d{2}", str(value))
    return match and match[0]
