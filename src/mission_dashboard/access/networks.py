"""What counts as one place where calls come from."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

IPV6_PREFIX = 64
"""The least that anybody is given: whoever has one IPv6 address has all of these."""


@lru_cache(maxsize=4096)
def place_of(address: str) -> str:
    """Return an IPv4 address as it is, of an IPv6 address its network: what limits and counts go by."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(known, IPv6Address):
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ip_network((known, IPV6_PREFIX), strict=False))
