"""Makes `node_cluster` importable: with importmode=importlib a test folder is no package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
