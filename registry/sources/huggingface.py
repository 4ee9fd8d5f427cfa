"""Hugging Face: its own client lists, searches and builds addresses; `transfer.py` moves the bytes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from yarl import URL

from ktd.registry.errors import AccessDenied, HubRefused, HubUnreachable, NotAtHub
from ktd.registry.sources.hub import Address, Found, HubFile, Listing, base_models
from ktd.registry.sources.proxies import spare_own_addresses

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ENDPOINT = "https://huggingface.co"
PATIENCE = 15.0  # seconds for an answer about a repository


class HuggingFace:
    name = "huggingface"
    label = "Hugging Face"

    def __init__(self, endpoint: str = ENDPOINT, token: str | None = None) -> None:
        self.endpoint = endpoint
        self._token = token

    def listing(self, repo: str, revision: str | None) -> Listing:
        with self._explained(repo):
            info = self._api().model_info(repo, revision=revision, files_metadata=True, timeout=PATIENCE)
        files = [
            HubFile.of(item.rfilename, item.size, item.lfs and item.lfs.sha256, item.blob_id)
            for item in info.siblings or []
        ]
        base = getattr(info.card_data, "base_model", None)
        return Listing(repo, info.sha or revision or "main", tuple(files), base_models(base))

    def address(self, listing: Listing, file: HubFile) -> Address:
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(listing.repo, file.path, revision=listing.revision, endpoint=self.endpoint)
        return Address(url, {"User-Agent": "ktd"} | ({"Authorization": f"Bearer {self._token}"} if self._token else {}))

    def search(self, query: str, limit: int) -> list[Found]:
        with self._explained(query):
            found = list(self._api().list_models(search=query, filter="gguf", sort="downloads", limit=limit))
        return [
            Found(self.name, model.id, model.downloads, str(model.last_modified)[:10] if model.last_modified else None)
            for model in found
        ]

    def _api(self) -> "HfApi":
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # it would ask huggingface.co who runs it, mirror or not
        from huggingface_hub import HfApi, get_session  # takes 0.3 s with all it needs

        spare_own_addresses()
        client = get_session()  # one for the process; it would follow a redirect to anywhere
        hooks = client.event_hooks
        if _stay not in hooks["response"]:
            client.event_hooks = hooks | {"response": [*hooks["response"], _stay]}
        return HfApi(endpoint=self.endpoint, token=self._token or False, library_name="ktd")

    @contextmanager
    def _explained(self, subject: str) -> Iterator[None]:
        from huggingface_hub import errors

        try:
            yield
        except errors.GatedRepoError as error:
            raise AccessDenied(
                f"{subject} is gated at {self.label}: accept its terms at {self.endpoint}/{subject}, then set HF_TOKEN"
            ) from error
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            raise NotAtHub(f"{self.label} has no {subject} (or not for you: HF_TOKEN opens private ones)") from error
        except errors.HFValidationError as error:
            raise NotAtHub(f"{subject} is no repository of {self.label}") from error
        except errors.HfHubHTTPError as error:
            raise _refusal(self.label, subject, error.response.status_code) from error
        except (OSError, ImportError, errors.OfflineModeIsEnabled) as error:  # a kind of proxy may need a package
            raise HubUnreachable(f"{self.label} ({self.endpoint}) does not answer: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HubRefused(f"{self.label} ({self.endpoint}) gives an answer that is none: {error!r:.200}") from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2"):  # whichever it is built on
                raise
            raise HubUnreachable(f"{self.label} ({self.endpoint}) does not answer: {error!r:.200}") from error


def _stay(response: Any) -> None:
    """Answers about repositories come from the hub's own host; a renamed repository only has another path there."""
    here = URL(str(response.request.url))
    there = here.join(URL(response.headers.get("location", "")))
    if response.is_redirect and there.origin() != here.origin():
        raise HubRefused(f"{here.host} redirects questions about repositories to {there.host}")


def _refusal(label: str, subject: str, status: int) -> Exception:
    if status in (401, 403):
        return AccessDenied(f"{label} refuses {subject} (HTTP {status}): set HF_TOKEN to a token that may read it")
    if status == 404:
        return NotAtHub(f"{label} has no {subject}")
    if status == 429 or status >= 500:
        return HubUnreachable(f"{label} cannot answer now (HTTP {status})")
    return HubRefused(f"{label} refuses {subject} (HTTP {status})")
