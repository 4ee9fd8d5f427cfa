"""Proxies: which of those in the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) lead to an address.

This machine's own addresses are reached without one, whatever the environment says.
"""

import os
from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from ktd.registry.errors import HubUnreachable

OWN = ("localhost", "127.0.0.1", "::1")


def proxy_for(url: URL) -> URL | None:
    """Raises `HubUnreachable` for a proxy of a kind that is not spoken here."""
    host, proxies = url.host or "", getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found or _is_own(host) or proxy_bypass(host):
        return None
    proxy = URL(found if "://" in found else f"http://{found}")
    if proxy.scheme not in ("http", "https") or not proxy.host:
        raise HubUnreachable(f"{host} cannot be reached by a proxy of the kind {proxy.scheme}: it must be http://")
    return proxy


def spare_own_addresses() -> None:
    """Tell the hubs' own clients, which read the environment, what `proxy_for` knows."""
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in known.split(",") if host.strip()]
    missing = [host for host in OWN if host not in hosts]
    if missing and "*" not in hosts:
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join([*hosts, *missing])


def _is_own(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
