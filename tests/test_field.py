"""The first table of a board: each method's best at each radius, of which row, chosen from how many."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from leaderboards.estimates import CURVES
from leaderboards.field import Best, field, field_lines
from leaderboards.render.field import field_tables
from leaderboards.render.interactive import field_table
from leaderboards.rows import Estimate


def row(run_id: str, method: str, sigma: float | None, half: float, one: float | None, **changed: Any) -> Any:
    curve = {"0.5": Estimate(half), "1.0": Estimate(one)}
    about: dict[str, Any] = {
        "read": "log", "data": "Some", "top": 1, "kind": "vote" if sigma else "margin", "holds": True, "images": 100,
        "every": 1, "variant": "", "date": "2020-01-01", "citation": "Somebody. 2020.", "url": "",
        "proposed": "", "n": 1000 if sigma else None, "alpha": 0.001 if sigma else 0.0, "sampling": "fixed",
        "noise": "gaussian", "precision": "fp32",
        "metrics": {"clean_accuracy": Estimate()}, "curves": {curve_of: curve for curve_of in CURVES.values()},
    }  # fmt: skip
    return SimpleNamespace(run_id=run_id, method=method, sigma=sigma, **about | changed)


ROWS = [
    row("a", "first", 0.25, 0.6, 0.0),
    row("b", "first", 0.5, 0.5, 0.3, date="2019"),
    row("c", "first", 0.5, 0.9, 0.9, images=50),  # fewer images do not count where there are more
    row("d", "first", 0.5, 0.7, 0.4, variant="wide, pre-trained on more, 4 steps"),
    row("e", "second", None, 0.55, 0.35),
    row("f", "second", None, 0.8, 0.7, read="plot"),
    row("g", "first", 0.5, 0.99, 0.9, holds=False),
]


def test_the_best_over_sigma_is_taken_at_each_radius() -> None:
    lines = {(line.method, line.extra_data, line.holds): line for line in field_lines(ROWS, [0.5, 1.0])}
    first = lines["first", "", True]
    assert first.at == {0.5: Best(0.6, "a", 0.25), 1.0: Best(0.3, "b", 0.5)}
    assert (first.rows, first.year, first.sigmas, first.images) == (2, "2019", (0.25, 0.5), 100)
    assert lines["first", "pre-trained on more", True].at[0.5] == Best(0.7, "d", 0.5)
    assert lines["second", "", True].at == {0.5: Best(0.55, "e", None), 1.0: Best(0.35, "e", None)}
    assert lines["first", "", False].at[0.5].run_id == "g"  # what does not hold for what is deployed stands alone
    assert len(lines) == 4


def test_votes_of_other_draws_have_a_line_of_their_own_and_say_so() -> None:
    other = row("h", "first", 0.25, 0.95, 0.0, n=50, alpha=0.05, proposed="Somebody. A method. 1999.")
    lines = [line for line in field_lines([*ROWS[:2], other], [0.5, 1.0]) if line.method == "first"]
    assert {line.terms: line.at[0.5].run_id for line in lines} == {
        "top-1, n = 1,000, α = 0.001": "a", "top-1, n = 50, α = 0.05": "h",
    }  # fmt: skip
    assert {line.year for line in lines} == {"2019", "1999"}
    [table] = field_tables(lines)
    assert "terms" in table.headings


def test_the_sources_of_a_line_are_those_of_its_best() -> None:
    shares = {"a": (0.6, 0.0), "b": (0.5, 0.3), "c": (0.1, 0.1)}
    rows = [row(name, "first", 0.5, *own, citation=f"{name.upper()}. 2020.") for name, own in shares.items()]
    [line] = field_lines(rows, [0.5, 1.0])
    assert line.citation == "A. 2020. B. 2020."


def test_lines_are_ordered_by_what_they_certify_over_the_radii() -> None:
    sums = [sum(best.share for best in line.at.values()) for line in field_lines(ROWS, [0.5, 1.0])]
    assert sums == sorted(sums, reverse=True) == pytest.approx([1.89, 1.1, 0.9, 0.9])


def test_the_small_print_is_the_sigma_and_a_note_says_when_it_was_chosen() -> None:
    [table] = field_tables(field_lines(ROWS[:2], [0.5, 1.0]))
    assert table.title == "Some, the best over σ at each radius, top-1, n = 1,000, α = 0.001"
    assert "chosen at each radius after the fact" in table.note
    assert table.headings == ["method", "kind", "holds", "year", "0.5", "1.0"]
    first = [("first", ""), ("vote", ""), ("yes", ""), ("2019", ""), ("60.0", "0.25"), ("30.0", "0.5")]
    assert table.lines == [first]
    [table] = field_tables(field_lines(ROWS[3:4], [0.5]))
    assert table.lines[0][0] == ("first", "pre-trained on more")


def test_the_board_of_cifar10_begins_with_the_field(tmp_path: Path) -> None:
    """Against what others print: the SoK board's SmoothAdv (81, 40, 19; it mixes what was trained on) and Consistency
    (68.8, 37.8, 19.5), on all test images."""
    lines = field("cifar10", tmp_path)
    recorded = [line for line in lines if line.source == "records"]
    assert lines[: len(recorded)] == recorded
    assert {(line.data, line.images) for line in recorded} == {("CIFAR-10", 10_000)}

    def best(method: str, r: float, *, extra: bool) -> str:
        own = [line for line in recorded if line.method == method and (extra or not line.extra_data)]
        return f"{100 * max(line.at[r].share for line in own):.1f}"

    assert [best("smoothadv", r, extra=True) for r in (0.25, 1.0, 2.0)] == ["81.4", "39.6", "19.3"]
    assert [best("consistency", r, extra=False) for r in (0.25, 1.0, 2.0)] == ["68.8", "37.8", "19.5"]
    typed = [line for line in lines if line.source != "records"]
    assert {line.kind for line in typed} == {"vote", "margin"}
    assert all(line.citation and line.link.startswith("https://") and line.holds is None for line in typed)
    titles = [table.title for table in field_tables(lines)]
    assert len(titles) == 3
    assert all("figures typed from papers" in title for title in titles[1:])


def test_a_board_without_a_choice_of_sigma_has_no_such_table(tmp_path: Path) -> None:
    assert field("digits", tmp_path) == []


def test_the_small_print_stands_in_brackets_where_there_is_one_size_of_print() -> None:
    [table] = field_tables(field_lines(ROWS[:2], [0.5, 1.0]))
    [line] = field_table(table)[0].to_dict("records")
    assert (line["method"], line["0.5"], line["1.0"]) == ("first", "60.0 (0.25)", "30.0 (0.5)")
