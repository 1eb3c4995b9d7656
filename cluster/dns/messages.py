"""DNS messages: from a query to a reply over a zone. Pure; dnslib does the wire format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dnslib

from cluster.dns.zone import Answer, Zone

TTL_S = 30
NEGATIVE_TTL_S = 5
PLAIN_UDP_SIZE_BYTES_MAX = 512
UDP_SIZE_BYTES_MAX = 1232

_RDATA: dict[str, Callable[[str], Any]] = {
    "A": dnslib.A,
    "CNAME": dnslib.CNAME,
    "PTR": dnslib.PTR,
    "TXT": lambda text: dnslib.TXT([text.encode()]),
}


def name_of(query: Any) -> str:
    """The name that is asked for: lower case, without the last dot."""
    return str(query.q.qname).rstrip(".").lower()


def type_of(query: Any) -> str:
    return str(dnslib.QTYPE.get(query.q.qtype))


def reply(query: Any, zone: Zone, rotation: int) -> Any | None:
    """The answer of the zone; None if the name is none of its business."""
    name, type_ = name_of(query), type_of(query)
    if zone.is_mine(name):
        return _reply_with(query, zone, zone.answer(name, type_), rotation)
    if name.endswith(".in-addr.arpa") and type_ == "PTR":
        found = zone.reverse(name)
        return _reply_with(query, zone, found, rotation) if found else None
    return None


def _reply_with(query: Any, zone: Zone, answer: Answer, rotation: int) -> Any:
    message = query.reply(ra=1, aa=1)
    values = answer.values
    start = rotation % len(values) if values else 0
    for value in (*values[start:], *values[:start]):
        rdata = _srv(value) if answer.type_ == "SRV" else _RDATA[answer.type_](value)
        message.add_answer(_record(query.q.qname, answer.type_, rdata, TTL_S))
    if not values:
        message.header.rcode = dnslib.RCODE.NOERROR if answer.exists else dnslib.RCODE.NXDOMAIN
        message.add_auth(_authority(zone.domain))
    if answer.type_ == "SRV":
        _add_targets(message, zone, values)
    _add_edns(query, message)
    return message


def is_alias_only(message: Any) -> bool:
    """Whether the answer is a CNAME that was not asked for as such."""
    is_alias = len(message.rr) == 1 and message.rr[0].rtype == dnslib.QTYPE.CNAME
    return is_alias and message.q.qtype != dnslib.QTYPE.CNAME


def question(name: str, query: Any) -> Any:
    """The same question as `query` about another name."""
    record = dnslib.DNSRecord(dnslib.DNSHeader(rd=1))
    record.add_question(dnslib.DNSQuestion(name, query.q.qtype))
    return record


def _record(name: Any, type_: str, rdata: Any, ttl_s: int) -> Any:
    return dnslib.RR(name, getattr(dnslib.QTYPE, type_), rdata=rdata, ttl=ttl_s)


def _srv(value: str) -> Any:
    priority, weight, port, target = value.split(" ")
    return dnslib.SRV(int(priority), int(weight), int(port), target)


def _add_targets(message: Any, zone: Zone, values: tuple[str, ...]) -> None:
    """The addresses of SRV targets, so that nobody has to ask again."""
    for target in sorted({value.split(" ")[3] for value in values}):
        for address in zone.answer(target.lower(), "A").values:
            message.add_ar(_record(target, "A", dnslib.A(address), TTL_S))


def _authority(domain: str) -> Any:
    times = (1, 7200, 1800, 86400, NEGATIVE_TTL_S)
    soa = dnslib.SOA(f"ns.dns.{domain}", f"hostmaster.{domain}", times)
    return _record(domain, "SOA", soa, NEGATIVE_TTL_S)


def _add_edns(query: Any, message: Any) -> None:
    if _edns_of(query) is not None:
        message.add_ar(dnslib.EDNS0(udp_len=UDP_SIZE_BYTES_MAX))


def _edns_of(query: Any) -> Any | None:
    return next((record for record in query.ar if record.rtype == dnslib.QTYPE.OPT), None)


def udp_limit(query: Any) -> int:
    """How large a datagram the client takes, within ours."""
    option = _edns_of(query)
    asked = int(option.rclass) if option is not None else PLAIN_UDP_SIZE_BYTES_MAX
    return min(UDP_SIZE_BYTES_MAX, max(PLAIN_UDP_SIZE_BYTES_MAX, asked))


def pack_for_udp(message: Any, limit: int) -> bytes:
    """Cut down to an empty truncated reply if it is too large: the client asks again by TCP."""
    data = bytes(message.pack())
    if len(data) <= limit:
        return data
    return bytes(message.truncate().pack())


def failure(query: Any, code: int) -> Any:
    message = query.reply(ra=1, aa=0)
    message.header.rcode = code
    return message
