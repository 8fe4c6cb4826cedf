"""Which IP addresses a delivery may reach: only what is public, and what the installation allows besides.

Sources: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its successors), RFC 4291 (mapped
and compatible forms), RFC 6052 and RFC 8215 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo).
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_V4: Final = tuple(
    (IPv4Network(cidr), kind)
    for cidr, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier's NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud metadata"),
        ("169.254.169.254/32", "cloud metadata"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V6: Final = tuple(
    (IPv6Network(cidr), kind)
    for cidr, kind in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4-compatible"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("100::/64", "discarded"),
        ("2001::/32", "Teredo"),
        ("2001:2::/48", "benchmarking"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("fd00:ec2::254/128", "cloud metadata"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_LOW_96: Final = tuple(IPv6Network(cidr) for cidr in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96"))


def why_forbidden(address: Address, allowed: Sequence[Network]) -> str | None:
    """The kind of address that forbids `address` ("private", "loopback", ...), or None where it may be reached.

    A range in `allowed` lets an address through, in its mapped form (`::ffff:a.b.c.d`) too. An address of another
    form that carries an IPv4 address is let through only if that one may be reached as well.
    """
    if isinstance(address, IPv4Address):
        return None if _inside(address, allowed) else _kind_of_v4(address)
    mapped = address.ipv4_mapped
    if mapped is not None:
        return None if _inside(address, allowed) else why_forbidden(mapped, allowed)
    if not _inside(address, allowed):
        return _kind_of_v6(address)
    carried = _carried(address)
    # `::1` is loopback, not a carrier of 0.0.0.1: allowing it alone is enough.
    return None if carried is None or int(carried) <= 1 else why_forbidden(carried, allowed)


def is_forbidden(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether a delivery must not reach `address`; `allowed` are the installation's exceptions."""
    return why_forbidden(address, allowed) is not None


def refusal(address: Address, allowed: Sequence[Network]) -> str | None:
    """What a producer is told of a forbidden address; None where it may be reached."""
    kind = why_forbidden(address, allowed)
    if kind is None:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return f"{f'::ffff:{mapped}' if mapped else address} is not an allowed address ({kind})"


def _inside(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _kind_of_v4(address: IPv4Address) -> str | None:
    return next((kind for network, kind in _V4 if address in network), None)


def _kind_of_v6(address: IPv6Address) -> str | None:
    known = next((kind for network, kind in _V6 if address in network), None)
    return known or (None if address in _GLOBAL_UNICAST else "reserved")


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a transition form ends up at, where its place is fixed."""
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _LOW_96):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
