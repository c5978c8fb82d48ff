"""Where webhooks may lead: to the internet, and to networks that the settings name; never to this machine by chance.

Who may set a webhook must not reach with it what only this server can reach (server-side request forgery). So the name
is resolved once, every address it has is checked, and the connection goes to an address that was checked.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network


class Forbidden(Exception):
    """This address may not be asked; the message says why."""


def checked_address(url: str, allowed: Sequence[Network]) -> str:
    """Return an address of the URL's host that may be asked; raise `Forbidden`, or OSError where it has none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Forbidden("it must begin with http:// or https:// and name a host")
    if parts.username or parts.password:
        raise Forbidden("it must not have a user or password in it")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = [str(info[4][0]) for info in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)]
    for text in found:
        address = ip_address(text.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if not address.is_global and not any(address in network for network in allowed):
            raise Forbidden(
                f"{parts.hostname} leads to {address}, which is not on the internet; "
                "MISSION_DASHBOARD_WEBHOOK_NETWORKS can allow its network"
            )
    return found[0]
