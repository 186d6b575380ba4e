"""What a reader sees is what the JSON says: table, file and hover, of every row of every board that comes with rows."""

from __future__ import annotations

import io
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from leaderboards import groups, table
from leaderboards.curves import row_curve
from leaderboards.estimates import CURVES
from leaderboards.render.cells import heading
from leaderboards.render.export import document, to_csv
from leaderboards.render.interactive import as_printed, interactive_table
from leaderboards.render.plots import certified_accuracy_plot
from leaderboards.whose import tell_whose
from suite.boards.board import boards
from suite.cli.serve import allowed_hosts, serve
from suite.protocols.protocol import columns
from suite.statistics.bounds import Convention

FILLED = ("cifar10", "cifar100", "imagenet", "mnist", "fashion-mnist")


def numbers(row: dict[str, Any], convention: Convention) -> dict[str, float | str]:
    """What a row of the JSON says, by the heading that a table has: shares in percent, counts as 19/80."""
    found: dict[str, float | str] = {}
    for key, column in columns().items():
        scale = 100 if column.unit == "share" else 1
        value = row[key]
        if column.by_radius:
            if key in CURVES.values() and key != CURVES[convention]:
                continue
            found |= {heading(f"r={r}", column): scale * share for r, share in value.items() if share is not None}
        elif column.of:
            if value and list(value.values())[1]:
                found[column.heading] = "/".join(map(str, value.values()))
        elif value is not None:
            found[column.heading] = scale * value
    return found


def test_boards_with_rows_are_those_that_are_tried(tmp_path: Path) -> None:
    assert {name for name in boards() if len(table(name, tmp_path))} == set(FILLED)


@pytest.mark.parametrize("board", FILLED)
@pytest.mark.parametrize("convention", ["standard", "paper"])
def test_the_table_and_its_file_say_what_the_json_says(board: str, convention: Convention, tmp_path: Path) -> None:
    known = {row["run_id"]: numbers(row, convention) for row in document(board, tmp_path)["rows"]}
    compared = 0
    for _, group in groups(tell_whose(table(board, tmp_path, convention), tmp_path)):
        shown, headings = interactive_table(group, "all", convention=convention)
        file = pd.read_csv(io.StringIO(to_csv(group.drop(columns="whose"))))
        names = {h.name for h in headings}
        for (_, line), run, (_, written) in zip(shown.iterrows(), group["run_id"], file.iterrows(), strict=True):
            for name, value in known[run].items():
                if name not in names:
                    continue
                assert line[name] == (value if isinstance(value, str) else pytest.approx(value, abs=1e-9)), (run, name)
                if f"r={name}" in file and "/" not in name:
                    assert 100 * written[f"r={name}"] == pytest.approx(value, abs=1e-9)
                compared += 1
    assert compared > 10


@pytest.mark.parametrize("board", FILLED)
def test_a_browser_that_rounds_ties_up_prints_what_the_terminal_prints(board: str, tmp_path: Path) -> None:
    ties = 0
    for _, group in groups(tell_whose(table(board, tmp_path), tmp_path)):
        shown, headings = interactive_table(group, "all")
        printed = as_printed(shown, headings)
        for own in (own for own in headings if own.form):
            digit = (
                Decimal(1).scaleb(-int(own.form.strip("%+f").rpartition(".")[2])) if own.form.endswith("f") else None
            )
            for value, given in zip(shown[own.name].dropna(), printed[own.name].dropna(), strict=True):
                if digit:
                    assert f"{Decimal(given).quantize(digit, ROUND_HALF_UP):f}" == own.form.replace("+", "") % value
                    ties += Decimal(value).quantize(digit, ROUND_HALF_UP) != Decimal(own.form % value)
    assert ties or board != "cifar10"


@pytest.mark.parametrize("board", FILLED)
def test_the_hover_says_what_the_json_says(board: str, tmp_path: Path) -> None:
    """At the radii of the board, which are points of each curve; where the curve has an interval, it is the table's."""
    known = {row["run_id"]: row for row in document(board, tmp_path)["rows"]}
    for _, row in table(board, tmp_path).query("read == 'log'").groupby("method", sort=False).head(2).iterrows():
        own = known[row["run_id"]]
        at = {float(r): share for r, share in own["certified_accuracy"].items() if share is not None}
        curve = row_curve(row, tmp_path)
        figure = certified_accuracy_plot({"it": curve}, {"it": at}, banded=[])
        [line, _] = figure.data
        drawn = dict(zip(line.x, zip(line.y, line.customdata, strict=True), strict=True))
        for r, share in at.items():
            if r > max(drawn):
                assert share == 0
                continue
            percent, [said] = drawn[r]
            assert percent == pytest.approx(100 * share, abs=1e-9)
            interval = own["intervals"]["certified_accuracy"][str(r)]
            bounds = (
                f" ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})" if interval and r in set(curve["radius"]) else ""
            )
            assert said == f"{100 * share:.1f} %{bounds}"


def test_the_server_asks_nothing_and_answers_to_its_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags: list[str] = []
    monkeypatch.setattr("streamlit.web.cli.main", lambda given, **_: flags.extend(given))
    monkeypatch.setattr("streamlit.net_util.get_external_ip", None)
    serve(tmp_path, None, None, "127.0.0.1", 8599, None)
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("http://127.0.0.1:8599")
    assert err == ""
    assert {"--server.showEmailPrompt=false", "--browser.gatherUsageStats=false"} <= set(flags)
    assert [f for f in flags if "allowedHosts" in f] == [
        f"--server.allowedHosts={n}" for n in ("localhost", "127.0.0.1", "[::1]")
    ]
    serve(tmp_path, None, None, "0.0.0.0", 8599, ["board.example"])
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("http://localhost:8599")
    assert "anybody who reaches this machine" in err
    assert "--server.allowedHosts=board.example" in flags
    assert "192.0.2.7" in allowed_hosts("192.0.2.7", ())
