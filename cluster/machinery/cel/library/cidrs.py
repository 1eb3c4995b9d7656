"""IP addresses and ranges of them (Kubernetes's ip and cidr libraries)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.functions import Overload, declare, traverse

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Ip:
    address: Address
    type_name = "net.IP"


@dataclass(frozen=True)
class Cidr:
    """`address` may have bits beyond the prefix."""

    address: Address
    network: Network
    type_name = "net.CIDR"


def parse_ip(text: str) -> Ip:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise EvaluationError(f'IP Address "{text}" parse error during conversion from string: '
                              f'ParseAddr("{text}"): unable to parse IP') from None  # fmt: skip
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.scope_id):
        kind = "IPv4-mapped IPv6 address" if address.ipv4_mapped else "zone value"
        raise EvaluationError(f'IP Address "{text}" parse error during conversion from string: '
                              f"{kind} is not allowed")  # fmt: skip
    return Ip(address)


def parse_cidr(text: str) -> Cidr:
    about = "network address parse error during conversion from string"
    wrong = f'{about}: netip.ParsePrefix("{text}")'
    base, slash, bits = text.partition("/")
    if not slash or not bits.isdigit() or (len(bits) > 1 and bits[0] == "0"):
        raise EvaluationError(f"{wrong}: no '/'")
    try:
        network = ipaddress.ip_network(text, strict=False)
        address = parse_ip(base).address
    except (ValueError, EvaluationError):
        raise EvaluationError(f"{wrong}: bad prefix") from None
    return Cidr(address, network)


def _valid(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def call(text: str) -> bool:
        try:
            parse(text)
        except EvaluationError:
            return False
        return True

    return call


def _is_canonical(text: str) -> bool:
    return str(parse_ip(text).address) == text


def _contains_ip(cidr: Cidr, ip: Ip | str) -> bool:
    address = parse_ip(ip).address if isinstance(ip, str) else ip.address
    return address.version == cidr.network.version and address in cidr.network


def _contains_cidr(cidr: Cidr, other: Cidr | str) -> bool:
    inner = (parse_cidr(other) if isinstance(other, str) else other).network
    if inner.version != cidr.network.version:
        return False
    return inner.prefixlen >= cidr.network.prefixlen and inner.network_address in cidr.network


def _masked(cidr: Cidr) -> Cidr:
    return Cidr(cidr.network.network_address, cidr.network)


def _global_unicast(ip: Ip) -> bool:
    a = ip.address
    special = a.is_unspecified or a.is_loopback or a.is_multicast or a.is_link_local
    return not special and str(a) != "255.255.255.255"


def _link_local_multicast(ip: Ip) -> bool:
    four = isinstance(ip.address, ipaddress.IPv4Address)
    return ip.address in ipaddress.ip_network("224.0.0.0/24" if four else "ff02::/16")


_T = traverse()

OVERLOADS: list[Overload] = [
    declare("ip(string): net.IP", parse_ip, _T),
    declare("isIP(string): bool", _valid(parse_ip), _T),
    declare("ip.isCanonical(string): bool", _is_canonical, _T),
    declare("string(net.IP): string", lambda ip: str(ip.address), None, lambda s: 45),
    declare("net.IP->family(): int", lambda ip: ip.address.version),
    declare("net.IP->isUnspecified(): bool", lambda ip: ip.address.is_unspecified),
    declare("net.IP->isLoopback(): bool", lambda ip: ip.address.is_loopback),
    declare("net.IP->isLinkLocalMulticast(): bool", _link_local_multicast),
    declare("net.IP->isLinkLocalUnicast(): bool", lambda ip: ip.address.is_link_local),
    declare("net.IP->isGlobalUnicast(): bool", _global_unicast),
    declare("cidr(string): net.CIDR", parse_cidr, _T),
    declare("isCIDR(string): bool", _valid(parse_cidr), _T),
    declare(
        "string(net.CIDR): string",
        lambda c: f"{c.address}/{c.network.prefixlen}",
        None,
        lambda s: 50,
    ),
    declare("net.CIDR->containsIP(net.IP): bool", _contains_ip),
    declare("net.CIDR->containsIP(string): bool", _contains_ip, traverse(1)),
    declare("net.CIDR->containsCIDR(net.CIDR): bool", _contains_cidr),
    declare("net.CIDR->containsCIDR(string): bool", _contains_cidr, traverse(1)),
    declare("net.CIDR->ip(): net.IP", lambda c: Ip(c.address)),
    declare("net.CIDR->masked(): net.CIDR", _masked),
    declare("net.CIDR->prefixLength(): int", lambda c: c.network.prefixlen),
]
