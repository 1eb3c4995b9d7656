"""An API server whose EncryptionConfiguration changes while it runs."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from api_fixture import RunningApi

from cluster.storage.encryption import config

SECRETS = "/api/v1/namespaces/default/secrets"


def write(path: Path, *providers: Any) -> None:
    entry = {"resources": ["secrets"], "providers": list(providers)}
    document = {"kind": config.KIND, "apiVersion": config.API_VERSION, "resources": [entry]}
    path.write_text(yaml.safe_dump(document))


def provider(kind: str, name: str) -> Any:
    secret = base64.b64encode(name.encode().ljust(32, b"x")).decode()
    return {kind: {"keys": [{"name": name, "secret": secret}]}}


def test_a_new_key_comes_into_use_and_a_file_with_mistakes_does_not(tmp_path: Path) -> None:
    path = tmp_path / "encryption.yaml"
    write(path, provider("aesgcm", "old"))
    api = RunningApi(tmp_path, encryption=str(path), config_reload_s=0.05)
    try:
        code, made = api.json("POST", SECRETS, {"metadata": {"name": "s"}, "data": {"a": "Yg=="}})
        assert code == 201

        def stored_by() -> bytes:
            """Write it anew, and look who has encrypted it."""
            assert api.json("PUT", f"{SECRETS}/s", made | {"metadata": {"name": "s"}})[0] == 200
            (kv,) = api.call(api.store.range(b"/registry/secrets/default/s")).kvs
            sealed = kv.value.startswith(b"k8s:enc:")
            return b":".join(kv.value.split(b":")[2:5]) if sealed else b""

        def until(wanted: Any, found: Callable[[], Any] = stored_by) -> None:
            ends_s = time.monotonic() + 20
            while found() != wanted:
                assert time.monotonic() < ends_s
                time.sleep(0.02)

        assert stored_by() == b"aesgcm:v1:old"
        write(path, provider("rot13", "new"))
        until(True, lambda: "'rot13' is not supported" in api.server._files[0].problem)
        assert stored_by() == b"aesgcm:v1:old"
        write(path, provider("secretbox", "new"), provider("aesgcm", "old"))
        until(b"secretbox:v1:new")
        write(path, {"identity": {}}, provider("secretbox", "new"))
        until(b"")  # plain: no prefix at all
        assert api.get("secret", "s")["data"] == {"a": "Yg=="}
        page = api.raw("GET", "/readyz?verbose")[2]
        assert b"[+]kms-providers ok" in page
    finally:
        api.close()
