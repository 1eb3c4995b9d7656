"""One OpenAPI v2 document out of several servers'; and version 3 of who has only version 2."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Document = dict[str, Any]

DEFINITIONS, SCHEMAS = "#/definitions/", "#/components/schemas/"
SHARED = "io.k8s.apimachinery."
"""Types of Kubernetes itself, which every server has; ours are told."""


def trimmed(document: Mapping[str, Any], roots: Iterable[str]) -> Document:
    """The part under these paths ("/apis/GROUP/VERSION"), with the definitions that it needs."""
    prefixes = tuple(f"{root}/" for root in roots)
    paths = {
        path: item
        for path, item in (document.get("paths") or {}).items()
        if f"{path}/".startswith(prefixes)
    }
    definitions = document.get("definitions") or {}
    needed: dict[str, Any] = {}
    waiting = list(_references(paths))
    while waiting:
        name = waiting.pop()
        if name in definitions and name not in needed:
            needed[name] = definitions[name]
            waiting.extend(_references(definitions[name]))
    return {"swagger": "2.0", "info": dict(document.get("info") or {}), "paths": paths,
            "definitions": needed}  # fmt: skip


def merged(own: Document, others: Iterable[Document]) -> Document:
    """Paths and definitions of all; a definition that differs from one of its name is renamed."""
    paths, definitions = dict(own["paths"]), dict(own["definitions"])
    for other in others:
        renamed = {
            name: _free(name, definitions)
            for name, body in other["definitions"].items()
            if name in definitions and not name.startswith(SHARED) and definitions[name] != body
        }
        found = _renaming(other, renamed)
        for name, body in found["definitions"].items():
            definitions.setdefault(renamed.get(name, name), body)
        for path, item in found["paths"].items():
            paths.setdefault(path, item)
    return {**own, "paths": paths, "definitions": definitions}


def upgraded(document: Document) -> Document:
    """The same as OpenAPI v3, as far as kubectl reads it: schemas, paths, bodies, answers."""
    schemas = _mapped(document["definitions"], lambda ref: ref.replace(DEFINITIONS, SCHEMAS, 1))
    paths = _mapped(document["paths"], lambda ref: ref.replace(DEFINITIONS, SCHEMAS, 1))
    return {
        "openapi": "3.0.0",
        "info": document["info"],
        "paths": {path: _path(item) for path, item in paths.items()},
        "components": {"schemas": schemas},
    }


def _path(item: Document) -> Document:
    return {
        name: _operation(part) if isinstance(part, dict) else [_parameter(p) for p in part]
        for name, part in item.items()
    }


def _operation(operation: Document) -> Document:
    parameters = operation.get("parameters") or []
    made = {k: v for k, v in operation.items() if k not in ("consumes", "produces", "schemes")}
    made["parameters"] = [_parameter(p) for p in parameters if p.get("in") != "body"]
    types = operation.get("produces") or ["application/json"]
    made["responses"] = {
        code: _answer(answer, types) for code, answer in (operation.get("responses") or {}).items()
    }
    for body in (p for p in parameters if p.get("in") == "body"):
        sent = operation.get("consumes") or ["application/json"]
        content = {t: {"schema": body.get("schema") or {}} for t in sent if t != "*/*"}
        made["requestBody"] = {"content": content or {"application/json": {"schema": {}}}}
    return made


def _parameter(parameter: Document) -> Document:
    if "$ref" in parameter or "schema" in parameter:
        return parameter
    kept = ("name", "in", "required", "description")
    schema = {k: v for k, v in parameter.items() if k not in kept}
    return {k: parameter[k] for k in kept if k in parameter} | {"schema": schema}


def _answer(answer: Document, types: Iterable[str]) -> Document:
    made = {"description": answer.get("description", "")}
    if "schema" in answer:
        made["content"] = {each: {"schema": answer["schema"]} for each in types}
    return made


def _free(name: str, taken: Mapping[str, Any]) -> str:
    number = 2
    while f"{name}_v{number}" in taken:
        number += 1
    return f"{name}_v{number}"


def _renaming(document: Document, renamed: Mapping[str, str]) -> Document:
    if not renamed:
        return document

    def change(reference: str) -> str:
        name = reference.removeprefix(DEFINITIONS)
        return DEFINITIONS + renamed.get(name, name)

    found: Document = _mapped(document, change)
    return found


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every `$ref` changed."""
    if isinstance(value, dict):
        return {
            k: change(v) if k == "$ref" and isinstance(v, str) else _mapped(v, change)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_mapped(each, change) for each in value]
    return value


def _references(value: Any) -> Iterable[str]:
    """Names of definitions that are referred to."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref" and isinstance(each, str):
                yield each.removeprefix(DEFINITIONS)
            else:
                yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)
