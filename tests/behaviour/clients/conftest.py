"""The same cluster as for kubectl, for programs that others have written."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_PATH = Path(__file__).parents[1] / "kubectl/conftest.py"
_spec = importlib.util.spec_from_file_location("kubectl_conftest", _PATH)
assert _spec is not None
assert _spec.loader is not None
shared = importlib.util.module_from_spec(_spec)
sys.modules["kubectl_conftest"] = shared
_spec.loader.exec_module(shared)

cluster = shared.cluster
kubectl = shared.kubectl


@pytest.fixture
def namespace(kubectl: Any) -> Iterator[str]:
    return kubectl.namespace
