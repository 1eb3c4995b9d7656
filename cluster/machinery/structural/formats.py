"""The string formats that apiextensions checks; any other is not judged."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from urllib.parse import urlsplit

_DURATION = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)"
                       r"(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))*|[-+]?0")  # fmt: skip
_LONG_DURATION = re.compile(
    r"(\d+)\s*(?:ns|nanos?|nanoseconds?|us|µs|micros?|microseconds?|ms|millis?|milliseconds?|s|secs?"
    r"|seconds?|m|mins?|minutes?|h|hr|hours?|d|days?|w|wk|weeks?)"
)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}([.,]\d+)?([zZ]|[+-]\d{2}:\d{2})?")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
                   r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?")  # fmt: skip
_MAC = re.compile(
    r"([0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(\2[0-9A-Fa-f]{2}){4}"
    r"|([0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4})"
)
_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?([0-9a-f])[0-9a-f]{3}-?([0-9a-f])[0-9a-f]{3}"
                   r"-?[0-9a-f]{12}")  # fmt: skip
_HEX_COLOR = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_RGB_COLOR = re.compile(r"rgb\((\d{1,3}),\s?(\d{1,3}),\s?(\d{1,3})\)")
_EMAIL = re.compile(r"[^@\s<>]+@[A-Za-z0-9.\-\[\]:]+")
_CREDIT = re.compile(r"[\d -]{13,25}")


def holds(name: str, value: str) -> bool:
    """Whether text has a format; formats that upstream does not know hold always."""
    check = _CHECKS.get(name)
    return check is None or check(value)


def quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _parses(parse: Callable[[str], object], value: str) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True


def is_time(value: str) -> bool:
    """RFC 3339, as go-openapi's date-time reads it."""
    if not _TIME.fullmatch(value):
        return False
    return _parses(datetime.fromisoformat, value[:19].replace("t", "T").replace(" ", "T"))


def is_duration(value: str) -> bool:
    """Go's form ("1h30m"), or a number and a word ("3 days")."""
    return bool(_DURATION.fullmatch(value) or _LONG_DURATION.fullmatch(value))


def _date(value: str) -> bool:
    return len(value) == 10 and _parses(lambda v: datetime.strptime(v, "%Y-%m-%d"), value)


def _ipv4(value: str) -> bool:
    return _parses(ipaddress.IPv4Address, value)


def _ipv6(value: str) -> bool:
    return "%" not in value and _parses(ipaddress.IPv6Address, value)


def _cidr(value: str) -> bool:
    prefix = value.partition("/")[2]
    return prefix.isdigit() and _parses(lambda v: ipaddress.ip_network(v, strict=False), value)


def _uri(value: str) -> bool:
    """Absolute, as Go's url.ParseRequestURI takes it."""
    if any(ord(c) <= 0x20 or ord(c) == 0x7F for c in value):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme) or value.startswith("/")


def _host(value: str) -> bool:
    return len(value) <= 255 and _HOST.fullmatch(value) is not None


def _base64(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _uuid(version: str) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        match = _UUID.fullmatch(value)
        if match is None or (version and match[1] != version):
            return False
        return version not in ("4", "5") or match[2].lower() in "89ab"

    return check


def _rgb(value: str) -> bool:
    match = _RGB_COLOR.fullmatch(value)
    return match is not None and all(int(part) <= 255 for part in match.groups())


def _credit_card(value: str) -> bool:
    digits = [int(c) for c in value if c.isdigit()]
    if not _CREDIT.fullmatch(value) or not 13 <= len(digits) <= 19:
        return False
    doubled = [d if at % 2 == 0 else sum(divmod(d * 2, 10)) for at, d in enumerate(digits[::-1])]
    return sum(doubled) % 10 == 0


def _isbn10(value: str) -> bool:
    text = value.replace("-", "").replace(" ", "").upper()
    if not re.fullmatch(r"\d{9}[\dX]", text):
        return False
    return sum((10 if c == "X" else int(c)) * (10 - at) for at, c in enumerate(text)) % 11 == 0


def _isbn13(value: str) -> bool:
    text = value.replace("-", "").replace(" ", "")
    if not re.fullmatch(r"\d{13}", text):
        return False
    return sum(int(c) * (1 if at % 2 == 0 else 3) for at, c in enumerate(text)) % 10 == 0


def _ssn(value: str) -> bool:
    return re.fullmatch(r"\d{3}[- ]?\d{2}[- ]?\d{4}", value) is not None


@lru_cache(maxsize=1)
def _object_id() -> re.Pattern[str]:
    return re.compile("[0-9a-fA-F]{24}")


_CHECKS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": lambda v: _object_id().fullmatch(v) is not None,
    "uri": _uri,
    "email": lambda v: _EMAIL.fullmatch(v) is not None,
    "hostname": _host,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "cidr": _cidr,
    "mac": lambda v: _MAC.fullmatch(v) is not None,
    "uuid": _uuid(""),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4"),
    "uuid5": _uuid("5"),
    "isbn": lambda v: _isbn10(v) or _isbn13(v),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "creditcard": _credit_card,
    "ssn": _ssn,
    "hexcolor": lambda v: _HEX_COLOR.fullmatch(v) is not None,
    "rgbcolor": _rgb,
    "byte": _base64,
    "password": lambda v: True,
    "date": _date,
    "duration": is_duration,
    "datetime": is_time,
    "date-time": is_time,
    "k8s-short-name": lambda v: re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", v) is not None,
    "k8s-long-name": lambda v: (
        len(v) <= 253
        and re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", v)
        is not None
    ),
}
"""By upstream's names; the registry ignores dashes, `date-time` is `datetime`."""
