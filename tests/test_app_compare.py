"""The page that compares two rows, without a browser, and the links to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from helpers.pages_of_app import Pages, having, make_both_kinds, make_runs, said, selected, text_of

from leaderboards import groups, rows, table
from leaderboards.compare import decided_by_all
from leaderboards.published.kept import records_file
from leaderboards.render.site_page import slug
from leaderboards.rows import Row


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_both_kinds(tmp_path_factory.mktemp("both"))


def adaptive_rows() -> list[Row]:
    """Two rows of a table that comes with the suite, whose sampling decided some radii only."""
    found = [row for row in rows("cifar10", Path("nowhere")) if row.source == "run" and row.decided]
    return [row for row in found if row.decided == found[0].decided and row.sigma == found[0].sigma][:2]


def test_images_are_compared_at_radii_that_were_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = adaptive_rows()
    pages = Pages(tmp_path / "nothing", monkeypatch)
    app = pages("compare", a=a.run_id, b=b.run_id, r="0.33")
    assert "The link asks for r = 0.33, which was not decided for both rows; this is 0.2." in said(app)
    [box] = [box for box in app.selectbox if box.label == "At radius"]
    assert list(map(float, box.options)) == decided_by_all((a, b))
    assert box.value == 0.2
    app = pages("compare", a=a.run_id, b=b.run_id, r="0.10")
    assert selected(app, "At radius") == 0.1
    assert "The link asks for r" not in said(app)


def test_a_radius_that_is_none_is_said_and_a_row_is_not_compared_with_itself(
    both: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (next(both.glob(name)).name for name in ("lipschitz-*", "baseline-*0.25*"))
    pages = Pages(both, monkeypatch)
    for r in ("abc", "-1", "inf", "nan"):
        assert f"The link asks for r = {r}, which is no radius" in said(pages("compare", board="digits", a=a, b=b, r=r))
    assert not said(pages("compare", board="digits", a=a, b=b, r="1/255"))
    app = pages("compare", board="digits", a=a, b=a)
    assert said(app) == "Both are the same row."
    assert "Verdict" not in [header.value for header in app.header]


def compare_link(app: Any) -> tuple[str, dict[str, str]]:
    """What the board's link to a comparison says, and what it asks for."""
    [link] = [own.proto for own in app.get("page_link") if "&a=" in own.proto.query_string]
    return link.label, dict(parse_qsl(link.query_string))


def test_the_link_compares_rows_of_the_table_that_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(tmp_path / "nothing", monkeypatch)
    found = dict(groups(table("cifar10", tmp_path)))
    title, group = next((title, own) for title, own in found.items() if len(own) > 2 and title != next(iter(found)))
    first, second, third = group["run_id"][:3]
    for ticked, label, a, b in (
        ([], "Compare ranks 1 and 2", first, second),
        ([third], "Compare it with rank 1", third, first),
        ([first], "Compare it with rank 2", first, second),
        ([third, second], "Compare the ticked rows", third, second),
    ):
        app = pages("leaderboard", table=slug(title), **({"rows": ticked} if ticked else {}))
        said_of, asked = compare_link(app)
        assert (said_of, asked["a"], asked["b"]) == (label, a, b)
    assert f"Best at σ = {group['sigma'].iloc[0]:g}: {group['method'].iloc[0]}" in text_of(app)


def test_two_rows_on_their_images(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    shutil.copytree(runs, store)
    folder = next(store.glob("heat-*"))
    shutil.copytree(folder, other := store / "other-run")
    lines = [json.loads(line) for line in records_file(other, "certify").read_text().splitlines()]
    changed = [line | {"radius": 0.0, "predict": -1, "correct": 0} for line in lines[:4]] + lines[4:]
    records_file(other, "certify").write_text("".join(json.dumps(line) + "\n" for line in changed))
    result = json.loads((other / "result.json").read_text())
    (other / "result.json").write_text(json.dumps(result | {"recipe": "other"}))
    app = Pages(store, monkeypatch)("compare", board="digits", a=folder.name, b="other-run", r="0.01")
    shown = having(app, "certified by")
    counts = dict(zip(shown["certified by"], shown["images"], strict=True))
    right = [line["correct"] and line["radius"] >= 0.01 for line in lines]
    known = {"both": sum(right[4:]), "only A": sum(right[:4]), "only B": 0, "neither": len(right) - sum(right)}
    assert counts == known
    had = [line["idx"] for line, was in zip(lines[:4], right[:4], strict=True) if was]
    assert having(app, "certified_by")["idx"].tolist() == had
    verdicts = having(app, "verdict")
    assert set(verdicts["verdict"]) <= {"undecided", "A ahead"}
    assert "Undecided at every radius" in text_of(app)  # of 30 images four are too few
    assert "on the 30 images of both, image by image; 1 seed and 1 seed" in text_of(app)


def test_rows_of_several_seeds_are_compared_over_all_of_them(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(runs, store)
    folder = next(store.glob("heat-*"))
    shutil.copytree(folder, other := store / "second")
    result = json.loads((other / "result.json").read_text())
    (other / "result.json").write_text(json.dumps(result | {"seed": 1}))
    shutil.copytree(folder, third := store / "third")
    (third / "result.json").write_text(json.dumps(result | {"recipe": "other", "method": "madry"}))
    app = Pages(store, monkeypatch)("compare", board="digits")  # ranks 1 and 2
    assert "on the 30 images of both, image by image; 2 seeds and 1 seed" in text_of(app).replace(
        "1 seed and 2 seeds", "2 seeds and 1 seed"
    )
    app = Pages(store, monkeypatch)("compare", board="digits", a="second", b="third")  # a row by its other seed
    assert "2 seeds and 1 seed" in text_of(app)
    assert not said(app)
    assert set(having(app, "A − B, points")["A − B, points"]) == {0.0}
    assert "Nothing but the records." in text_of(app)  # their specs are the same


def test_a_margin_is_compared_with_a_vote(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (next(both.glob(name)).name for name in ("lipschitz-*", "baseline-*0.25*"))
    app = Pages(both, monkeypatch)("compare", board="digits", a=a, b=b, r="0.01")
    assert not said(app)
    differing = having(app, "setting").set_index("setting")
    assert differing.loc["kind"].tolist() == ["margin", "vote"]
    assert differing.loc["sigma"].tolist() == ["–", "0.25"]
    assert having(app, "images")["images"].sum() == 12
