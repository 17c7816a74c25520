"""Where a token may be used from: addresses and CIDR networks, of IPv4 and IPv6. Pure."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

from app.values import Network

_WRITTEN = re.compile(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?")


def network(text: str) -> Network:
    """An address or a CIDR network (host bits are dropped); ValueError. IPv4 inside IPv6 counts as IPv4."""
    try:
        if not _WRITTEN.fullmatch(text):
            raise ValueError
        found = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("expected an address or a CIDR network such as 192.0.2.0/24 or 2001:db8::/32") from None
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    if mapped is not None and found.prefixlen >= 96:
        return IPv4Network((mapped, found.prefixlen - 96))
    return found


def written(networks: Iterable[Network]) -> tuple[str, ...]:
    """The networks as text, each once; one that is a single address without its length."""
    return tuple(dict.fromkeys(str(n).removesuffix(f"/{n.max_prefixlen}") for n in networks))


def within(networks: Sequence[Network], outer: Sequence[Network] | None) -> bool:
    """Whether each of the networks lies in one of the outer ones; None stands for everywhere."""
    return outer is None or all(any(_inside(inner, one) for one in outer) for inner in networks)


def _inside(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)
