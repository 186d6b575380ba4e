"""Links to a board: what they ask for, what they leave out, and what is said of what is not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.rows import margin, result, store

from leaderboards import groups, load_board, table
from leaderboards.board import select_rows
from leaderboards.field import field
from leaderboards.headline import best_line, counted, doubt, field_best, first_table, measured, order_line
from leaderboards.links import BOARD, View, line_of, read_view, search, ticked, unknown, write_view
from leaderboards.orders import orders, ranked_field, short, usual
from leaderboards.render.foreign import legible, plain
from leaderboards.render.site_page import slug
from leaderboards.whose import SUITES, YOURS, tell_whose, whose

BOARDS = ("cifar10", "digits")
FULL = View(
    "digits", "paper", "0.2", "heat", ("heat",), ("cnn",), ("vote",), ("yours",), ("0.25",), "cost", True, "t",
    ("a", "b"),
)  # fmt: skip


def test_a_link_gives_the_view_that_it_was_made_of() -> None:
    view, said = read_view(write_view(FULL), BOARDS)
    assert (view, said) == (FULL, [])
    assert read_view({}, BOARDS) == (View(), [])
    assert write_view(View()) == {"board": [BOARD]}  # which no run changes
    assert read_view({"order": ["1/4"]}, BOARDS)[0].order == "0.25"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"board": ["nosuch"]}, "The link asks for board nosuch, which is not here; this is cifar10."),
        ({"order": ["0.3"]}, "The link asks for order 0.3, which is not here; this is the usual one."),
        ({"columns": ["x"]}, "The link asks for columns x, which is not here; this is certified."),
        ({"abstentions": ["x"]}, "The link asks for abstentions x, which is not here; this is counted."),
    ],
)
def test_what_a_link_asks_for_and_is_not_here_is_said(query: dict[str, list[str]], said: str) -> None:
    view, found = read_view(query, BOARDS)
    assert (view, found) == (View(), [said])


def test_another_board_has_other_rows_and_filters() -> None:
    assert FULL.on("cifar10") == View("cifar10", "paper", columns="cost", intervals=True)
    assert FULL.cleared().filtered == 0
    assert FULL.filtered == 6
    assert FULL.cleared().rows == FULL.rows


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    store(tmp_path, result(), result("baseline"), margin())
    return tmp_path


def seeds(runs: Path, *numbers: int) -> None:
    store(runs, *(result("heat", seed=seed) for seed in numbers))


def test_a_row_is_found_by_any_of_its_runs_when_another_seed_lands(runs: Path) -> None:
    seeds(runs, 1)
    [before] = select_rows(table("digits", runs), method=["heat"])["run_id"]
    seeds(runs, 0)
    frame = table("digits", runs)
    [after] = select_rows(frame, method=["heat"])["run_id"]
    assert before != after  # the row goes by its first seed's run
    row = line_of(frame, before)
    assert row is not None
    assert row["run_id"] == after
    assert [line["run_id"] for line in ticked(frame, View("digits", rows=(before, after, "gone")))] == [after]
    assert line_of(frame, "gone") is None
    assert line_of(pd.DataFrame(), "gone") is None


def test_filters_and_rows_that_no_row_has_are_said(runs: Path) -> None:
    frame = tell_whose(table("digits", runs), runs)
    view = View("digits", method=("nope", "baseline"), source=("x",), sigma=("0.5",), rows=("gone",))
    assert list(unknown(view, frame)) == [
        "The link asks for method nope, which no row of digits has.",
        "The link asks for source x, which no row of digits has.",
        "The link asks for σ 0.5, which no row of digits has.",
        "The link asks for the row gone, which is not on digits; it may have been deleted or moved.",
    ]


def test_search_takes_every_word(tmp_path: Path) -> None:
    frame = table("cifar10", tmp_path)
    found = search(frame, "  SMOOTHADV resnet110")
    assert 0 < len(found) < len(frame)
    assert set(found["arch"]) == {"resnet110"}
    said = found["method"] + found["variant"] + found["note"] + found["citation"]
    assert said.str.casefold().str.contains("smoothadv").all()
    assert len(search(frame, "Salman")) > len(search(frame, "Salman resnet110 pgd")) > 0
    assert search(frame, "salman nosuchword").empty
    assert search(frame, "(?<").empty  # no pattern
    assert len(search(frame, " ")) == len(frame)


def test_rows_of_the_suite_are_told_from_ones_own(runs: Path) -> None:
    assert set(tell_whose(table("digits", runs), runs)["whose"]) == {YOURS}
    found = tell_whose(table("cifar10", runs), runs)
    assert set(found[found["source"] == "run"]["whose"]) == {SUITES}
    assert "Cohen et al. 2019" in set(found["whose"])
    plain = pd.Series({"source": "published", "citation": "Ada Lovelace. Notes. 1843", "date": "1843-01-01"})
    assert whose(plain, runs) == "Lovelace 1843"


def test_orders_are_what_the_table_takes(tmp_path: Path) -> None:
    board = load_board("cifar10")
    for order in orders(board):
        assert len(table("cifar10", tmp_path, sort=order))
    assert usual(board) == "acr"
    assert [short(order) for order in ("acr", "clean", "0.25", str(36 / 255))] == [
        "ACR",
        "clean",
        "r = 0.25",
        "r = 36/255",
    ]


def test_the_field_is_ranked_by_what_it_certifies_at_a_radius(tmp_path: Path) -> None:
    lines = field("cifar10", tmp_path)
    ranked = [line for line in ranked_field(lines, "0.5") if line.source == "records"]
    shares = [line.at[0.5].share for line in ranked]
    assert shares == sorted(shares, reverse=True)
    assert ranked_field(lines, "acr") == lines
    first = ranked[0]
    assert field_best(ranked, "0.5") == (
        f"Best at r = 0.5: {first.method} ({first.extra_data}), {100 * first.at[0.5].share:.1f} %; "
        "its certificates hold for what it deploys; "
        "σ chosen after the fact, so no ranks."
    )


def test_three_lines_say_what_a_board_is(tmp_path: Path) -> None:
    frame = table("cifar10", tmp_path)
    found = dict(groups(frame))
    first = found[first_table(found, "acr")]
    within = first.iloc[0]["worst_rank"]
    assert best_line(first) == f"Best at σ = 0.12: smoothadv; ranks 1–{within} of {len(first)} are within noise."
    assert "provably so for every change of ℓ2 norm ≤ r" in measured("standard")
    assert "Images that a row abstains on are left out" in measured("paper")
    assert order_line(load_board("cifar10"), "acr").startswith("Order: average certified radius (ACR), best first")
    assert best_line(first.iloc[:0]) == "Best: not known; no rows compare here."


def test_ranked_by_a_large_radius_a_board_shows_a_table_that_reaches_it(tmp_path: Path) -> None:
    """Nothing at σ = 0.12 is certified at 0.5."""
    found = dict(groups(table("cifar10", tmp_path, sort="0.5")))
    assert first_table(found, "") == next(iter(found))
    assert found[first_table(found, "0.5")]["sigma"].unique().tolist() == [0.25]
    unknown = {"adaptive": found[first_table(found, "")].assign(**{"r=0.5": np.nan}), **found}
    assert first_table(unknown, "0.5") == first_table(found, "0.5")
    alone = {title: group for title, group in found.items() if len(group) == 1}
    [title] = list(alone)[:1]
    assert ", the only row of its table" in best_line(alone[title])


def test_a_best_row_whose_certificates_do_not_hold_is_said_to_be_one(tmp_path: Path) -> None:
    frame = table("cifar10", tmp_path)
    own = select_rows(frame, method=["heat"], arch=["airbench-w32"], variant=[""], source=["run"], sigma=[0.1])
    [heat] = own.to_dict("records")
    assert counted(heat) == "broken 10 of 94"
    assert doubt(heat) == "; its certificates do not hold for the single pass that it deploys (broken 10 of 94)"
    assert doubt(heat | {"holds": True}) == ""
    assert counted(heat | {"audit.attacked": 0}) == ""


def test_a_table_has_a_mark_that_other_rows_do_not_change(runs: Path) -> None:
    before = [slug(title) for title, _ in groups(table("digits", runs))]
    seeds(runs, 0, 1)
    assert [slug(title) for title, _ in groups(table("digits", runs))] == before


# what makes a link of bare text on the pages, once Markdown's backslashes are gone (mdast-util-gfm-autolink-literal)
LINKS = (r"(?i)(https?://|www(?=\.))([-.\w]+)([^ \t\r\n]*)", r"([-.\w+]+)@([-\w]+(?:\.[-\w]+)+)")


@pytest.mark.parametrize("address", ["http://e.x/a", "HTTPS://e.x", "www.e.x", "a@e.x", "<a href='http://e.x'>a</a>"])
def test_no_text_of_others_is_a_link(address: str) -> None:
    assert any(re.search(link, address) for link in LINKS)
    bare = plain(address).replace("\\", "")
    assert not any(re.search(link, bare) for link in LINKS)
    assert bare.replace("\u2060", "") == address


def test_what_turns_text_around_is_taken_out() -> None:
    turned: Any = "a\u202eb\u2066c\x07d\u200fe"
    assert legible(turned) == "abcde"
    assert legible("σ = 0.25, “x”\nπ") == "σ = 0.25, “x” π"
