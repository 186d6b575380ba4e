"""A browser, axe-core, and a page's layout shift."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

EXECUTABLE = os.environ.get("SUITE_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # noqa: E501  # fmt: skip
AXE = Path(os.environ.get("SUITE_AXE") or Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js")
WATCH = """
    window.shifts = []
    const called = node => node?.dataset?.testid || node?.className || node?.nodeName
    const source = s => [called(s.node), JSON.stringify(s.previousRect), JSON.stringify(s.currentRect)].join(" ")
    const seen = list => list.getEntries().filter(entry => !entry.hadRecentInput)
    new PerformanceObserver(list => window.shifts.push(
        ...seen(list).map(entry => [entry.value, entry.startTime, entry.sources.map(source)])
    )).observe({ type: "layout-shift", buffered: true })
"""


def opened() -> Iterator[Any]:
    """A browser, closed at the end; without one the test is skipped, or fails where one is required."""
    from playwright.sync_api import sync_playwright

    if not EXECUTABLE:
        missing("no browser: install Debian's chromium, or name one in SUITE_BROWSER", required="SUITE_REQUIRE_BROWSER")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=EXECUTABLE, args=FLAGS)


def missing(said: str, required: str) -> None:
    if os.environ.get(required):
        pytest.fail(said)
    pytest.skip(said)


def axe_serious(tab: Any) -> list[tuple[str, int, str]]:
    """What axe-core finds serious or critical on a page: the rule, how often, and where first."""
    if not AXE.is_file():
        missing("no axe-core: npm install --no-save axe-core", required="SUITE_REQUIRE_AXE")
    tab.evaluate(AXE.read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run({ resultTypes: ['violations'] }).then(r => r.violations)")
    assert found is not None
    return [
        (one["id"], len(one["nodes"]), str(one["nodes"][0]["target"]))
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def layout_shift(tab: Any) -> tuple[float, list[Any]]:
    """The page's cumulative layout shift, of a tab that runs WATCH at first, and what moved most."""
    shifts = tab.evaluate("window.shifts")
    return worst_window(shifts), sorted(shifts, reverse=True)[:4]


def worst_window(shifts: list[Any]) -> float:
    """Chromium's measure: the largest sum over a session window, of at most 5 s and without a pause of 1 s."""
    worst = total = 0.0
    first = last = float("-inf")
    for value, at, _ in sorted(shifts, key=lambda shift: shift[1]):
        if at - last >= 1000 or at - first >= 5000:
            first, total = at, 0.0
        last, total = at, total + value
        worst = max(worst, total)
    return worst
