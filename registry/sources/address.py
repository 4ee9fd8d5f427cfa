"""Where a redirect may lead: never into this machine or its network, unless the hub itself was configured to be there.

A hub's answer must not make ktd send requests to what only ktd can reach (CVE-2026-5530 and its kin).
"""

import socket
from collections.abc import Mapping
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from ktd.registry.errors import HubRefused
from ktd.registry.sources.proxies import proxies

CREDENTIALS = ("authorization", "cookie", "proxy-authorization")


class PublicResolver(AbstractResolver):
    """Resolves names and gives public addresses only, so that what was checked is what is connected to.

    `trusted` are hosts that the user has named: hubs and proxies.
    """

    def __init__(self, trusted: frozenset[str]) -> None:
        self._trusted = trusted
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if host.lower() in self._trusted:
            return found
        public = [result for result in found if is_public(result["host"])]
        if not public:
            raise OSError(f"{host} has only private addresses, to which no hub may redirect")
        return public

    async def close(self) -> None:
        await self._resolver.close()


def trusted_hosts(endpoint: str) -> frozenset[str]:
    """Hosts that may have private addresses: the hub's own, and the proxies of the environment.

    Raises `HubUnreachable` for a proxy whose address is none.
    """
    return frozenset(host.lower() for url in (URL(endpoint), *proxies().values()) if (host := url.host))


def is_public(address: str) -> bool:
    return ip_address(address.partition("%")[0]).is_global


def is_private_host(host: str) -> bool:
    """Whether a host of a URL is, as it is written, in a private network."""
    try:
        return not is_public(host)
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def check_redirect(endpoint: URL, target: URL) -> None:
    """Raises `HubRefused` for a target that `endpoint` may not redirect to."""
    if target.scheme != "https" and (target.scheme != "http" or endpoint.scheme != "http"):
        raise HubRefused(f"{endpoint.host} redirects to {target.scheme}://{target.host}, which is not https")
    if is_private_host(target.host or "") and not is_private_host(endpoint.host or ""):
        raise HubRefused(f"{endpoint.host} redirects to the private address {target.host}")


def headers_for(target: URL, origin: URL, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that may go to a target: credentials stay with the host (and port) they were given for."""
    if target.origin() == origin.origin():
        return dict(headers)
    return {name: value for name, value in headers.items() if name.lower() not in CREDENTIALS}
