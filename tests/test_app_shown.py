"""What a board's page shows of a view, without a page: rows, table, pair to compare, what is said beside a curve."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import Any

import pandas as pd
import pytest

from leaderboards import groups, table
from leaderboards.links import View
from leaderboards.orders import usual
from leaderboards.render.drawn import hover_note, radius_limits, table_shares
from leaderboards.render.field import field_tables
from leaderboards.render.interactive import field_table
from leaderboards.render.site_page import slug
from leaderboards.shown import certificates_line, kept_rows, link_to_compare, rows_to_compare, table_shown
from leaderboards.whose import tell_whose
from suite.boards.board import load_board


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The board of CIFAR-10 as it comes with the suite."""
    nothing = tmp_path_factory.mktemp("nothing")
    return tell_whose(table("cifar10", nothing), nothing)


ORDER = usual(load_board("cifar10"))


def tables(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return dict(groups(frame, sort=ORDER))


def test_the_pair_is_ranks_1_and_2_of_the_table_that_is_shown(frame: pd.DataFrame) -> None:
    found = tables(frame)
    title = table_shown(View(), found, ORDER)
    assert rows_to_compare(frame, View(), ORDER)[:2] == found[title]["run_id"].tolist()[:2]
    other = next(name for name, own in found.items() if name != title and len(own) > 2)
    asked = View(table=slug(other))
    assert table_shown(asked, found, ORDER) == other
    assert rows_to_compare(frame, asked, ORDER)[:2] == found[other]["run_id"].tolist()[:2]


def test_the_pair_is_of_the_rows_that_filters_and_search_leave(frame: pd.DataFrame) -> None:
    for view in (View(method=("randomized-smoothing",), sigma=("0.5",)), View(search="salman 2019")):
        kept = kept_rows(frame, view)
        assert 1 < len(kept) < len(frame)
        pair = rows_to_compare(frame, view, ORDER)[:2]
        assert set(pair) <= set(kept["run_id"])
        [group] = [own for own in tables(kept).values() if set(pair) <= set(own["run_id"])][:1]
        assert pair == group["run_id"].tolist()[:2]
    one = View(method=(frame["method"].iloc[0],), arch=("nothing has this",))
    assert kept_rows(frame, one).empty
    assert len(rows_to_compare(frame, one, ORDER)) == (~frame["source"].str.startswith("paper")).sum()


def test_beside_a_chosen_row_stands_one_of_its_own_table(frame: pd.DataFrame) -> None:
    found = tables(frame)
    shown = table_shown(View(), found, ORDER)
    group = next(own for name, own in found.items() if name != shown and len(own) > 2)
    first, second, third = group["run_id"][:3]
    assert rows_to_compare(frame, View(), ORDER, [third])[:2] == [third, first]
    assert rows_to_compare(frame, View(rows=(first,)), ORDER)[:2] == [first, second]
    assert rows_to_compare(frame, View(rows=(third, second)), ORDER)[:2] == [third, second]
    assert rows_to_compare(frame, View(rows=(second,)), ORDER, [third])[:2] == [third, first]  # the URL's come first


def test_the_link_says_what_it_compares(frame: pd.DataFrame) -> None:
    group = next(own for own in tables(frame).values() if len(own) > 2)
    first, second, third = (line for _, line in group.head(3).iterrows())
    ids = group["run_id"].tolist()
    assert link_to_compare(group, []) == ("Compare ranks 1 and 2", ids[:2])
    assert link_to_compare(group, [second]) == ("Compare it with rank 1", [ids[1], ids[0]])
    assert link_to_compare(group, [third, first, second]) == ("Compare the ticked rows", [ids[2], ids[0]])
    assert link_to_compare(group.head(1), []) == ("Compare two rows", ids[:1])
    paper = first.copy()
    paper["source"] = "paper, Figure 1a"
    assert link_to_compare(group, [paper]) == ("Compare ranks 1 and 2", ids[:2])


def group_of(**columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_a_sentence_says_what_the_certificates_of_a_table_say() -> None:
    both = group_of(claim=["says a", "says b"], holds=[False, True])
    assert certificates_line(both) == (
        "Rows that deploy a single pass, which their certificates do not hold for: 1 of 2. "
        "Open a row for what its own certificate says."
    )
    assert certificates_line(group_of(claim=["says a", ""], holds=[True, None])) == "Certificates: says a."
    assert certificates_line(group_of(claim=["", None], holds=[None, None])) == "Certificates: not said."


def test_a_hover_says_on_what_a_row_rests_and_a_line_where_its_draws_end() -> None:
    vote = pd.Series({"kind": "vote", "n": 1000, "alpha": 0.001, "sigma": 0.25, "images": 500})
    margin = pd.Series({"kind": "margin", "n": None, "alpha": 0.0, "sigma": None, "images": 12})
    assert hover_note(vote) == "n = 1000, 500 images"
    assert hover_note(margin) == "margin, 12 images"
    [(said, radius)] = radius_limits([vote, margin, vote]).items()
    assert said == "limit of n = 1000, α = 0.001, σ = 0.25"
    assert radius == pytest.approx(0.25 * NormalDist().inv_cdf(0.001 ** (1 / 1000)))
    shares = table_shares(pd.Series({"r=0.5": 0.25, "r=1.0": None, "r=2.0": 0.1}), ["method", "r=0.5", "r=1.0"])
    assert shares == {0.5: 0.25}


def test_what_a_method_was_trained_on_is_a_column_of_its_own(tmp_path: Path) -> None:
    from leaderboards.field import field

    lines = [line for line in field("cifar10", tmp_path) if line.source == "records"]
    [found] = field_tables(lines)
    shown, headings = field_table(found)
    assert shown["method"].tolist() == [line.method for line in lines]
    assert shown["extra data"].tolist() == [line.extra_data or "none" for line in lines]
    assert [heading.name for heading in headings[:3]] == ["method", "extra data", "kind"]
    assert len(set(shown["extra data"])) > 1
    plain = [line for line in lines if not line.extra_data]
    [found] = field_tables(plain)
    assert "extra data" not in field_table(found)[0]
