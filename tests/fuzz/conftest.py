"""How far to go: a short run that is the same every time, or what `scripts/fuzz` asks for."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

EXAMPLES = os.environ.get("RAYKUBE_FUZZ_EXAMPLES", "")
"""How many of each test; a run with it is random and prints how to replay what it finds."""

settings.register_profile(
    "fuzz",
    max_examples=int(EXAMPLES or 10),
    derandomize=not EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("fuzz")
