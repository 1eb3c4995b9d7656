"""Formats of names and values; each check returns what is wrong (apimachinery's validation)."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from cluster.machinery import intstr

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_PERCENT = "[0-9]+%"


def _used(pattern: str, *examples: str) -> str:
    """The tail of upstream's RegexError."""
    listed = " or ".join(f"'{example}', " for example in examples)
    return f" (e.g. {listed}regex used for validation is '{pattern}')"


LABEL_WRONG = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character" + _used(_LABEL, "my-name", "123-abc")
)
SUBDOMAIN_WRONG = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character" + _used(_SUBDOMAIN, "example.com")
)
LABEL_1035_WRONG = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character"
    + _used(_LABEL_1035, "my-name", "abc-123")
)
_QUALIFIED_WRONG = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character" + _used(_QUALIFIED, "MyName", "my.name", "123-abc")
)
LABEL_VALUE_WRONG = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character"
    + _used(_LABEL_VALUE, "MyValue", "my_value", "12345")
)
CONFIG_KEY_WRONG = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
    + _used(_CONFIG_KEY, "key.name", "KEY_NAME", "key-name")
)
PERCENT_WRONG = "a valid percent string must be a numeric string followed by an ending '%'" + _used(
    _PERCENT, "1%", "93%"
)
ENV_NAME_WRONG = (
    "a valid environment variable name must consist only of printable ASCII characters other "
    "than '='"
)
PORT_WRONG = "must be between 1 and 65535, inclusive"
MODE_WRONG = "must be a number between 0 and 0777 (octal), both inclusive"
IP_WRONG = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"

_compiled = lru_cache(maxsize=None)(re.compile)


def too_long(most: int) -> str:
    """Upstream's MaxLenError."""
    return f"must be no more than {most} bytes"


def _matches(value: str, pattern: str, most: int, wrong: str) -> list[str]:
    found = [too_long(most)] if len(value) > most else []
    return found if _compiled(pattern).fullmatch(value) else [*found, wrong]


@lru_cache(maxsize=4096)
def label(value: str) -> list[str]:
    """An RFC 1123 label: names of namespaces, containers, volumes."""
    return _matches(value, _LABEL, 63, LABEL_WRONG)


@lru_cache(maxsize=4096)
def subdomain(value: str) -> list[str]:
    """An RFC 1123 subdomain: names of most objects."""
    return _matches(value, _SUBDOMAIN, 253, SUBDOMAIN_WRONG)


@lru_cache(maxsize=4096)
def label_1035(value: str) -> list[str]:
    """An RFC 1035 label: names of services."""
    return _matches(value, _LABEL_1035, 63, LABEL_1035_WRONG)


def path_segment(value: str) -> list[str]:
    """Any name that can stand in a path: RBAC's objects."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in value]


@lru_cache(maxsize=4096)
def qualified_name(value: str) -> list[str]:
    """Keys of labels and annotations: an optional prefix, a slash and a name."""
    prefix, slash, name = value.rpartition("/")
    if value.count("/") > 1:
        tail = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return ["a qualified name " + _QUALIFIED_WRONG + tail]
    found = []
    if slash and not prefix:
        found.append("prefix part must be non-empty")
    elif slash:
        found += ["prefix part " + wrong for wrong in subdomain(prefix)]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part " + too_long(63))
    if not _compiled(_QUALIFIED).fullmatch(name):
        found.append("name part " + _QUALIFIED_WRONG)
    return found


@lru_cache(maxsize=4096)
def label_value(value: str) -> list[str]:
    """Values of labels."""
    return _matches(value, _LABEL_VALUE, 63, LABEL_VALUE_WRONG)


def config_key(value: str) -> list[str]:
    """Keys of config maps and secrets."""
    found = _matches(value, _CONFIG_KEY, 253, CONFIG_KEY_WRONG)
    if value == ".":
        found.append("must not be '.'")
    elif value == "..":
        found.append("must not be '..'")
    elif value.startswith(".."):
        found.append("must not start with '..'")
    return found


def env_name(value: str) -> list[str]:
    """Names of environment variables, as relaxed since 1.32."""
    good = value and all(" " <= char <= "~" and char != "=" for char in value)
    return [] if good else [ENV_NAME_WRONG]


def port_number(value: int) -> list[str]:
    """Ports."""
    return [] if 1 <= value <= 65535 else [PORT_WRONG]


def port_name(value: str) -> list[str]:
    """IANA service names."""
    found = [too_long(15)] if len(value) > 15 else []
    if not _compiled("[-a-z0-9]+").fullmatch(value):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _compiled(".*[a-z].*").fullmatch(value):
        found.append("must contain at least one letter (a-z)")
    if "--" in value:
        found.append("must not contain consecutive hyphens")
    if value[:1] == "-" or value[-1:] == "-":
        found.append("must not begin or end with a hyphen")
    return found


def port_or_name(value: int | str) -> list[str]:
    """Target ports: a number or the name of a port."""
    return port_number(value) if isinstance(value, int) else port_name(value)


def ip_address(value: str) -> list[str]:
    """IPv4 or IPv6."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return [IP_WRONG]
    return []


def percent_or_count(value: int | str) -> list[str]:
    """A number that is not negative, or a percentage."""
    if isinstance(value, int):
        return [] if value >= 0 else ["must be greater than or equal to 0"]
    return [] if intstr.is_percent(value) else [PERCENT_WRONG]
