"""The certificate that an API server shows, and what becomes of it when its files change."""

from __future__ import annotations

import shutil
import ssl
import time
from pathlib import Path

from api_fixture import RunningApi


def test_a_new_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    api = RunningApi(tmp_path, config_reload_s=0.05)

    def serial() -> int:
        pem = ssl.get_server_certificate(("127.0.0.1", api.port))
        return hash(pem)

    try:
        before = serial()
        new = api.authority.issue("renewed", server=True)
        used = tmp_path / "kube-apiserver.crt"
        first = used.read_bytes()
        shutil.copy(new["cert"], used)  # its key is not there yet: the old one is served
        ends_s = time.monotonic() + 15
        while not api.server._files[-1].problem:
            assert time.monotonic() < ends_s
            time.sleep(0.02)
        assert serial() == before
        shutil.copy(new["key"], tmp_path / "kube-apiserver.key")
        while serial() == before:
            assert time.monotonic() < ends_s
            time.sleep(0.02)
        assert used.read_bytes() != first
        assert api.raw("GET", "/readyz")[0] == 200
    finally:
        api.close()
