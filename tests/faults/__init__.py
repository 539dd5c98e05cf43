"""Faults on purpose: clients that record, a nemesis that breaks things, and an auditor that replays."""

from __future__ import annotations

import sys
from pathlib import Path

CLIENT = str(Path(__file__).parents[2] / "distributions" / "moorage-client" / "src")
"""Where the client library is. pytest knows, and ``python -m tests.faults`` does not."""

if CLIENT not in sys.path:
    sys.path.append(CLIENT)
