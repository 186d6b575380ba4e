"""The three lines above a board: what is measured, what the order is, and what can be said of the best row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from leaderboards.field import FieldLine
from leaderboards.orders import orders
from leaderboards.render.cells import percent
from suite.boards.board import Board, radius_text
from suite.protocols.protocol import columns
from suite.statistics.bounds import Convention

MEASURED = (
    "Measured: how many of the test images are classified correctly, and provably so for every change of ℓ2 norm ≤ r "
    "(pixels in [0,1])."
)
DROPPED = " Images that a row abstains on are left out, and R > r, as in the paper."


def measured(convention: Convention) -> str:
    return MEASURED + (DROPPED if convention == "paper" else "")


def order_line(board: Board, order: str) -> str:
    return f"Order: {orders(board)[order]}, best first; rows in one table compare, rows in different tables do not."


def best_line(group: pd.DataFrame) -> str:
    """What is certain of the first row of a group of comparable rows, all of it."""
    if group.empty or group["best_rank"].isna().all():
        return "Best: not known; no rows compare here."
    first = group.sort_values("rank").iloc[0]
    within = int(first["worst_rank"])
    said = (
        f"Best at σ = {first['sigma']:g}: {first['method']}" if first["kind"] == "vote" else f"Best: {first['method']}"
    )
    if len(group) == 1:
        said += ", the only row of its table"
    elif within > 1:
        said += f"; ranks 1–{within} of {len(group)} are within noise"
    else:
        said += f", ahead of all {len(group) - 1} others beyond noise"
    return f"{said}{doubt(first)}."


def first_table(found: Mapping[str, pd.DataFrame], order: str) -> str:
    """The title of the table that a board shows first: its first one, or by a radius the one that certifies most there.

    Of tables on the first one's images; a table at a small σ certifies nothing at a large radius.
    """
    titles = list(found)
    name = f"r={order}"
    alike = [title for title in titles if (found[title]["data"] == found[titles[0]]["data"].iloc[0]).all()]
    known = [title for title in alike if name in found[title] and found[title][name].notna().any()]
    return max(known, key=lambda title: found[title][name].max(), default=titles[0])


def doubt(row: Any) -> str:
    """What a reader has to know of a row whose certificates are not of what it deploys."""
    if pd.isna(row["holds"]) or row["holds"]:
        return ""
    broken = counted(row)
    return f"; its certificates do not hold for the single pass that it deploys{f' ({broken})' if broken else ''}"


def counted(row: Any) -> str:
    """`broken 19 of 80`: the certificates that an attack inside of their radii violated; empty where none was tried."""
    audit = columns().get("audit")
    if audit is None or pd.isna(row.get("audit.attacked")) or not row["audit.attacked"]:
        return ""
    return f"broken {row['audit.violations']:.0f} of {row['audit.attacked']:.0f}"


def field_best(lines: list[FieldLine], order: str) -> str:
    """What can be said of the first of the field's lines, which chose the σ after the fact."""
    if not lines:
        return "Best: not known."
    first = lines[0]
    name = f"{first.method} ({first.extra_data})" if first.extra_data else first.method
    held = {
        True: "its certificates hold for what it deploys",
        False: "its certificates do not hold for what it deploys",
    }
    chosen = "; ".join(
        [*([held[first.holds]] if first.holds is not None else []), "σ chosen after the fact, so no ranks"]
    )
    if order in ("acr", "p_a"):
        return f"Best: {name} certifies most over the radii shown; {chosen}."
    if order == "clean":
        known = f"{name}, {percent(first.clean)} % of clean images; {chosen}"
        return f"Best: {'not known; no line has a clean accuracy' if first.clean is None else known}."
    where = f"Best at r = {radius_text(float(order))}"
    best = first.at.get(float(order))
    return (
        f"{where}: {name}, {percent(best.share)} %; {chosen}." if best else f"{where}: not known; see the tables below."
    )
