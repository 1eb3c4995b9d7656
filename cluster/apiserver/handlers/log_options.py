"""PodLogOptions, as they are read from the query of pods/log and checked (pure)."""

from __future__ import annotations

from cluster.apiserver.http.messages import Request
from cluster.machinery import meta, status
from cluster.machinery.status import Cause

FLAGS = ("follow", "previous", "timestamps")
NUMBERS = {"tailLines": 0, "sinceSeconds": 1, "limitBytes": 1}
"""The least that each may be."""
STREAMS = ("All", "Stdout", "Stderr")


def read(request: Request) -> dict[str, str]:
    """The query for the kubelet. 400 for what cannot be read, 422 for what may not be."""
    query = {name: "true" for name in FLAGS if request.flag(name)}
    causes: list[Cause] = []
    for name, least in NUMBERS.items():
        text = request.parameter(name)
        if text:
            query[name] = str(_number(name, text, least, causes))
    since = request.parameter("sinceTime")
    if since:
        query["sinceTime"] = since
        _check_time(since, query, causes)
    stream = request.parameter("stream")
    if stream:
        query["stream"] = stream
        _check_stream(stream, query, causes)
    if causes:
        raise status.invalid("PodLogOptions", "", causes)
    return query


def _number(name: str, text: str, least: int, causes: list[Cause]) -> int:
    try:
        value = int(text)
    except ValueError:
        raise status.bad_request(f'{name}: "{text}" is not a number') from None
    if value < least:
        what = "must be greater than 0" if least else "must be greater than or equal to 0"
        causes.append(Cause("FieldValueInvalid", f"Invalid value: {value}: {what}", name))
    return value


def _check_time(text: str, query: dict[str, str], causes: list[Cause]) -> None:
    try:
        meta.parse_time(text)
    except ValueError as error:
        raise status.bad_request(f"sinceTime: {error}") from error
    if "sinceSeconds" in query:
        message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(Cause("FieldValueForbidden", message, "sinceSeconds"))


def _check_stream(stream: str, query: dict[str, str], causes: list[Cause]) -> None:
    if stream not in STREAMS:
        supported = ", ".join(f'"{each}"' for each in STREAMS)
        message = f'Unsupported value: "{stream}": supported values: {supported}'
        causes.append(Cause("FieldValueNotSupported", message, "stream"))
    elif stream != "All" and "tailLines" in query:
        message = "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now"
        causes.append(Cause("FieldValueForbidden", message, "tailLines"))
