"""Query parameters of reads: selectors, versions, limits. Errors are the client's (400, 422)."""

from __future__ import annotations

import re

from cluster.apiserver.context import Call
from cluster.machinery import selectors, status
from cluster.machinery.errors import BadRequest
from cluster.storage import keys
from cluster.storage.listing import EXACT, NOT_OLDER, ListOptions
from cluster.storage.selection import Selection
from cluster.storage.strategies.base import ALWAYS_SELECTABLE

_NUMBER = re.compile(r"[+-]?[0-9]{1,100}")
_VERSION = re.compile(r"[0-9]{1,19}")
INITIAL_EVENTS = "sendInitialEvents"


def selection(call: Call) -> Selection:
    """What the path and the selectors ask for."""
    try:
        labels = selectors.parse_labels(call.request.parameter("labelSelector"))
        fields = selectors.parse_fields(call.request.parameter("fieldSelector"))
    except BadRequest as error:
        raise status.bad_request(str(error)) from error
    known = (*ALWAYS_SELECTABLE, *call.registry.strategy.selectable)
    for requirement in fields.requirements:
        if requirement.path not in known:
            raise status.bad_request(f"field label not supported: {requirement.path}")
    if call.target.name:  # the old way to watch one object: GET .../watch/pods/NAME
        one = selectors.FieldRequirement("metadata.name", True, call.target.name)
        fields = selectors.FieldSelector((*fields.requirements, one))
    return Selection(
        keys.prefix(call.resource, call.namespace),
        None if labels.empty else labels,
        None if fields.empty else fields,
    )


def list_options(call: Call) -> ListOptions:
    """The options of a list, checked as upstream's ValidateListOptions does."""
    request = call.request
    version = request.parameter("resourceVersion")
    match = request.parameter("resourceVersionMatch")
    token = request.parameter("continue")
    check_version(version)
    if token and version not in ("", "0"):
        raise status.bad_request("specifying resource version is not allowed when using continue")
    if match:
        _check_match(match, version, token)
    if request.parameter(INITIAL_EVENTS):
        refuse(INITIAL_EVENTS, f"{INITIAL_EVENTS} is forbidden for list")
    return ListOptions(selection(call), version, match, limit(call), token)


def _check_match(match: str, version: str, token: str) -> None:
    field = "resourceVersionMatch"
    if match not in (EXACT, NOT_OLDER):
        supported = f'supported values: "{EXACT}", "{NOT_OLDER}", ""'
        _invalid("FieldValueNotSupported", f'Unsupported value: "{match}": {supported}', field)
    if token:
        refuse(field, f"{field} is forbidden when continue is provided")
    if not version:
        refuse(field, f"{field} is forbidden unless resourceVersion is provided")
    if match == EXACT and version == "0":
        refuse(field, f'{field} "Exact" is forbidden for resourceVersion "0"')


def refuse(field: str, text: str) -> None:
    """422 for a parameter that may not stand where it does."""
    _invalid("FieldValueForbidden", f"Forbidden: {text}", field)


def _invalid(reason: str, message: str, field: str) -> None:
    raise status.invalid("ListOptions.meta.k8s.io", "", [status.Cause(reason, message, field)])


def check_version(text: str) -> None:
    """400 unless it is empty or a number."""
    if text and not (_VERSION.fullmatch(text) and int(text) < 2**63):
        message = f'Invalid value: "{text}": invalid resource version'
        raise status.bad_request(f"resourceVersion: {message}")


def limit(call: Call) -> int:
    """The page size; 0 for no limit."""
    return number(call, "limit")


def number(call: Call, name: str) -> int:
    """A parameter that is a count or a duration; 400 unless it is a number."""
    text = call.request.parameter(name) or "0"
    return max(integer(text), 0)


def integer(text: str) -> int:
    """As Go reads an int64; 400 with its words otherwise."""
    if not _NUMBER.fullmatch(text):
        raise status.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if not -(2**63) <= int(text) < 2**63:
        raise status.bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)
