"""How many cores this process may use."""

from __future__ import annotations

import os


def cores() -> int:
    """Those that the system gives it; all, where that is not said (macOS, Windows)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
