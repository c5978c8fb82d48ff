"""Where alerts may be sent: names are looked up, checked and connected to as checked, so that nobody uses the
dashboard to reach what only its own machine or network may.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from mission_dashboard.concurrency import blocking

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
NAT64 = ipaddress.ip_network("64:ff9b::/96")
GLOBAL_V6 = ipaddress.ip_network("2000::/3")
"""All that is assigned to be public; `is_global` takes for public whatever is not assigned to anything else."""


class Refused(Exception):
    """Alerts may not be sent there, or it cannot be found."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which hosts and networks alerts may be sent to although they are not public."""

    hosts: Sequence[str] = ()
    networks: Sequence[Network] = field(default=())

    def resolve(self, host: str, port: int) -> str:
        """Return the address to connect to; raise `Refused` where the host has any that is not allowed."""
        name = host.strip("[]").rstrip(".").lower()
        found = _addresses(name, port)
        if name not in self.hosts:
            for address in found:
                if not self._is_allowed(address):
                    raise Refused(
                        f"{name} is not a public address. Only hosts and networks named in "
                        "MISSION_DASHBOARD_ALERT_HOSTS may be reached inside."
                    )
        return str(found[0])

    def _is_allowed(self, address: Address) -> bool:
        if any(address.version == network.version and address in network for network in self.networks):
            return True
        if address.version == 6 and address not in GLOBAL_V6 and address not in NAT64:
            return False
        return all(inner.is_global and not inner.is_multicast for inner in (address, *_inside(address)))


def _addresses(name: str, port: int) -> Sequence[Address]:
    try:
        return [ipaddress.ip_address(name)]
    except ValueError:
        pass
    try:
        found = blocking(socket.getaddrinfo, name, port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(f"The host {name} cannot be found.") from error
    return [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]


def _inside(address: Address) -> Sequence[Address]:
    """Return the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in inner if one is not None]
