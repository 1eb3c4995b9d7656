"""Where a webhook is called: a URL, or a Service; of admission and of conversion alike."""

from __future__ import annotations

from urllib.parse import urlsplit

from cluster.machinery.validation import formats
from cluster.machinery.validation.field import Errors, Object


def validate(config: Object, path: str, errors: Errors) -> None:
    """A WebhookClientConfig."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        errors.required(path, "exactly one of url or service is required")
    elif url is not None:
        _url(url, f"{path}.url", errors)
    else:
        _service(service or {}, f"{path}.service", errors)


def _url(url: str, path: str, errors: Errors) -> None:
    form = "; desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        errors.required(path, f"url must be a valid URL: {error}{form}")
        return
    if parts.scheme != "https":
        errors.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{form}")
    if not parts.hostname:
        errors.invalid(path, parts.netloc, f"host must be specified{form}")
    if parts.username is not None:
        user = parts.netloc.rpartition("@")[0]
        errors.invalid(path, user, f"user information is not permitted in the URL{form}")
    if parts.fragment:
        errors.invalid(path, parts.fragment, f"fragments are not permitted in the URL{form}")
    if parts.query:
        errors.invalid(path, parts.query, f"query parameters are not permitted in the URL{form}")


def _service(service: Object, path: str, errors: Errors) -> None:
    for name in ("name", "namespace"):
        if not service.get(name):
            errors.required(f"{path}.{name}", f"service {name} is required")
    port = service.get("port")
    if port is not None and formats.port_number(port):
        text = "port is not valid: must be between 1 and 65535, inclusive"
        errors.invalid(f"{path}.port", port, text)
    where = service.get("path")
    if where is not None:
        _path(where, f"{path}.path", errors)


def _path(where: str, path: str, errors: Errors) -> None:
    if not where.startswith("/"):
        errors.invalid(path, where, "must start with a '/'")
        return
    steps = where.removesuffix("/").split("/")[1:]
    for at, step in enumerate(steps):
        if not step:
            errors.invalid(path, where, f"segment[{at}] may not be empty")
        for failure in formats.subdomain(step) if step else ():
            errors.invalid(path, where, f"segment[{at}]: {failure}")
