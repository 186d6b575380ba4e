"""Quick digits runs, and where the optional real data lie."""

from __future__ import annotations

from pathlib import Path

SHARED = Path(__file__).parents[3] / "shared"

# a heat run on the digits that takes seconds: settings as given to RunSpec, and as the command line's options
TINY = {
    "method": "heat", "dataset": "digits", "profile": "demo", "epochs": 0.2, "start.training.epochs": 2,
    "n": 100, "images": 30,
}  # fmt: skip


def options(settings: dict[str, object]) -> list[str]:
    """Settings as command-line options."""
    named = {"method", "dataset", "profile", "epochs", "n", "images", "n0", "sigma", "lr"}
    pairs = [(f"--{k}", str(v)) if k in named else ("--set", f"{k}={v}") for k, v in settings.items()]
    return [text for pair in pairs for text in pair]
