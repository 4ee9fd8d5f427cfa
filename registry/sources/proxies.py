"""Proxies: which of those in the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) lead to an address.

This machine's own addresses are reached without one, whatever the environment says.
"""

import os
from contextlib import suppress
from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from ktd.registry.errors import HubUnreachable

KINDS = ("http", "https", "all")
OWN = ("localhost", "127.0.0.1", "::1")


def proxy_for(url: URL) -> URL | None:
    """Raises `HubUnreachable` for a proxy of a kind that is not spoken here, or whose address is none."""
    host = url.host or ""
    if _is_own(host) or proxy_bypass(host):
        return None
    known = proxies()
    proxy = known.get(url.scheme) or known.get("all")
    if proxy and proxy.scheme not in ("http", "https"):
        raise HubUnreachable(f"{host} cannot be reached by a proxy of the kind {proxy.scheme}: it must be http://")
    return proxy


def proxies() -> dict[str, URL]:
    """Those of the environment, by the scheme of what they lead to, or "all". Raises `HubUnreachable`."""
    return {kind: _address(kind, proxy) for kind, proxy in getproxies().items() if kind in KINDS}


def spare_own_addresses() -> None:
    """Tell the hubs' own clients, which read the environment, what `proxy_for` knows."""
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in known.split(",") if host.strip()]
    missing = [host for host in OWN if host not in hosts]
    if missing and "*" not in hosts:
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join([*hosts, *missing])


def _address(kind: str, proxy: str) -> URL:
    """Where a proxy is, which may be written without the http://; it may have a password, so no error shows it."""
    with suppress(ValueError):
        address = URL(proxy if "://" in proxy else f"http://{proxy}")
        if address.host:
            return address
    raise HubUnreachable(f"{kind.upper()}_PROXY is no address of a proxy: it must be like http://host:port")


def _is_own(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
