"""The demonstration connectors lie in a folder of their own, as a third party's would."""

from __future__ import annotations

import sys
from pathlib import Path

DEMO = str(Path(__file__).parent / "demo")
if DEMO not in sys.path:
    sys.path.insert(0, DEMO)
