"""By what a board's rows can be ranked, and in what words."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboards.field import FieldLine
from suite.boards.board import Board, radius_key, radius_text


def orders(board: Board) -> dict[str, str]:
    """What `leaderboards.table` takes as `sort` on a board, in words."""
    radii = {str(r): f"certified accuracy at r = {radius_text(r)}" for r in board.all_radii}
    return {
        "acr": "average certified radius (ACR)",
        "p_a": "mean p_A, the bound on the probability of the vote's answer, 0 where that is wrong",
        "clean": "accuracy on clean images",
        **radii,
    }


def short(order: str) -> str:
    """An order as a control names it."""
    return {"acr": "ACR", "p_a": "p_A", "clean": "clean"}.get(order) or f"r = {radius_text(float(order))}"


def usual(board: Board) -> str:
    """The key of the order that a board has by itself."""
    return radius_key(board.sort)


def ranked_field(lines: Sequence[FieldLine], order: str) -> list[FieldLine]:
    """The field's lines, those of a test set best first by their clean accuracy or at a radius.

    ACR and p_A have no best over σ, so by these they stay as they are; so does what was typed.
    """
    recorded = [line for line in lines if line.source == "records"]
    typed = [line for line in lines if line.source != "records"]
    if order in ("acr", "p_a"):
        return [*recorded, *typed]

    def key(line: FieldLine) -> tuple[str, bool, float]:
        best = line.at.get(float(order)) if order != "clean" else None
        share = line.clean if order == "clean" else best and best.share
        return line.data, share is None, -(share or 0.0)

    return [*sorted(recorded, key=key), *typed]
