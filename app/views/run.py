"""One run: its numbers and what it claims, how it was made, every record, and its images as its model sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app import common, state
from app.common import places, show_lines, show_plot, show_table, warn_user
from leaderboards.board import table_line
from leaderboards.cache import read_result
from leaderboards.estimates import CURVES
from leaderboards.headline import counted, doubt
from leaderboards.published import all_roots
from leaderboards.published.kept import kept_folders, records_file
from leaderboards.render.cells import percent
from leaderboards.render.export import defused
from leaderboards.render.foreign import legible, plain
from leaderboards.render.interactive import certificate_chips
from leaderboards.render.plots import training_plot, votes_plot
from leaderboards.render.row import metric_lines, setting_lines
from leaderboards.rows import board_rows
from suite.boards.board import load_board, radius_text
from suite.store.read import Run, describe_start, read_run, run_folders, runs_of_model
from suite.store.records import read_records
from suite.store.result import Result

DRAWS = 100  # votes under noise
LAST = 10**9  # number of an image that can be asked for
SHOWN = 1_000  # records in the page's table; the file has all


def line_of_run(folder: Path) -> pd.Series[Any] | None:
    """The run as a line of its board, by itself; None where it has no certificates."""
    result = read_result(folder / "result.json")
    if not isinstance(result, Result) or not result.is_certified:
        return None
    [row] = board_rows([result], load_board(result.dataset).all_radii)
    return pd.Series(table_line(row, CURVES["standard"]))


def show_numbers(row: Any) -> None:
    """The numbers that one came for, and what the certificate says."""
    radii = [name for name in row.index if str(name).startswith("r=") and pd.notna(row[name]) and row[name] > 0]
    chosen = dict.fromkeys([radii[0], radii[len(radii) // 2]]) if radii else {}
    numbers = {"clean": f"{percent(row['clean_accuracy'])} %"}
    numbers |= {f"certified at r = {radius_text(float(name[2:]))}": f"{percent(row[name])} %" for name in chosen}
    numbers |= {"ACR": f"{row['acr']:.4f}", "certificate": certificate_chips(row)[0]}
    if broken := counted(row):
        numbers["attacked inside its radius"] = broken
    with st.container(horizontal=True):
        for name, value in numbers.items():
            st.metric(name, legible(value), width="content")
    st.text(f"What it claims: {row['claim']}{doubt(row)}.")
    dataset = row["dataset"]
    view = state.view() if state.view().board == dataset else state.view().on(dataset)
    with st.container(horizontal=True):
        st.page_link(
            "views/leaderboard.py", label="Its row on the board", query_params=state.params(view, row=row["run_id"])
        )
        st.page_link("views/compare.py", label="Compare it", query_params=state.params(view, a=row["run_id"]))
    if row["command"]:
        st.code(row["command"], language=None, wrap_lines=True)
    with st.expander("All numbers, with 95 % intervals"):
        show_lines(pd.DataFrame(metric_lines(row), columns=["metric", "value", "95 %"]))
    with st.expander("On what terms"):
        show_lines(pd.DataFrame(setting_lines(row), columns=["setting", "value"]))


def show_parent(start: dict[str, Any], folders: dict[str, Path]) -> None:
    """The model that training started from, and the runs of it that are here."""
    st.header("Trained from", anchor="parent")
    st.text(legible(describe_start(start)))
    for name in runs_of_model(start, folders):
        st.page_link("views/run.py", label=plain(name), query_params=state.params(run=name))


def show_records(run: Run, folder: Path) -> None:
    st.header("Records", anchor="records")
    kept = {name: name for name in run.protocols}
    protocol = state.pick("Protocol", "protocol", kept, width=260)
    if protocol is None:
        return
    with warn_user():
        found = read_records(records_file(folder, protocol))
        claims = list(found["claim"].dropna().unique()) if "claim" in found else []
        flat = found.drop(columns="claim", errors="ignore") if len(claims) == 1 else found
        if len(claims) == 1:
            st.text(f"Each says: {claims[0]}.")
        if len(flat) > SHOWN:
            st.text(f"The first {SHOWN} of {len(flat)}; the file has all.")
        csv = lambda: flat.map(defused).to_csv(index=False)  # noqa: E731
        show_table(flat.head(SHOWN).map(readable), f"{protocol} {folder.name}", csv=csv)


def readable(value: Any) -> Any:
    """A cell of records: what is nested as text."""
    return str(value) if isinstance(value, dict | list) else value


def show_images(run: Run, folder: Path) -> None:
    """The image browser."""
    from app.images import show_image, view_of  # torch, which the rest of the page does without

    assert run.spec is not None
    certified = common.run_records(folder.name) if "certify" in run.protocols else None
    known = [] if certified is None or certified.empty else certified["idx"].tolist()
    asked = state.own("image")
    first = int(known[0]) if known else 0
    if asked.isdecimal() and int(asked) <= LAST:
        first = int(asked)
    elif asked:
        st.warning(plain(f"The link asks for the image {asked}, which is no image's number; this is {first}."))
    index = st.number_input("Image", 0, LAST, width=160, **state.own_control("image", first))
    record = certified[certified["idx"] == index] if certified is not None and known else pd.DataFrame()
    if len(record):
        own = record.iloc[0]
        answer = "abstained" if own["predict"] == -1 else f"class {own['predict']}, radius {own['radius']:.4f}"
        st.text(f"Certificate: {answer}; the label is {own['label']}. What it says: {own['claim']}.")
    else:
        st.text("No certificate: the run has not certified this image.")
    look, data = view_of(folder, places().data_root, int(index), DRAWS)
    name = data.classes
    with st.container(horizontal=True):
        show_image(look.clean, f"clean: {name[look.label]}; one pass says {name[look.answer]}")
        if look.noisy is not None and look.answer_noisy is not None:
            show_image(look.noisy, f"σ = {run.spec['sigma']:g}: one pass says {name[look.answer_noisy]}")
        if look.adversarial is None or look.distance is None or look.answer_adversarial is None:
            st.text(f"PGD found no adversarial image within {run.spec['attack']['max_norm']:g}.")
        elif look.distance == 0:
            st.text("Misclassified as it is: no attack is needed.")
        else:
            inside = ", inside of the certified radius" if len(record) and look.distance < own["radius"] else ""
            show_image(
                look.adversarial,
                f"PGD at distance {look.distance:.4f}{inside}: the row says {name[look.answer_adversarial]}",
            )
    if not look.votes:
        st.text("This run has no noise: its certificates are margins of the single pass.")
        return
    alt = f"Votes of {DRAWS} noisy copies by class"
    show_plot(votes_plot(look.votes, name, look.label), f"votes {folder.name} {index}", alt)
    st.caption(f"{DRAWS} noisy copies; fresh draws, other ones than the certificate's.")


def offer_images(run: Run, folder: Path) -> None:
    """The image browser where weights are, behind a switch; else how to have them."""
    st.header("Images", anchor="images")
    if not (folder / "model.safetensors").exists():
        st.text("Not here: the run's weights are not. Its command trains the network again.")
        return
    if st.toggle(
        "Show images, with the data and the model loaded",
        **state.own_control("images", state.own("images") == "on", lambda on: "on" * on),
    ):
        with warn_user():
            show_images(run, folder)


def show_run(runs: Path, folders: dict[str, Path]) -> None:
    """The run that is picked."""
    board = state.view().board
    here = sorted(folders, key=lambda name: (not (runs / name).is_dir(), f"-{board}-" not in name, name))
    name = state.pick(
        "Run", "run", {name: name if (runs / name).is_dir() else f"{name} (the suite's)" for name in here}
    )
    folder = folders[str(name)]
    run = read_run(folder)
    if run.damaged:
        st.warning(plain(f"Damaged, and left out: {', '.join(run.damaged)} of {folder.name}"))
    if run.result is None:
        st.warning(
            "This run has not finished: the command that began it goes on where it stopped. What is there so far:"
        )
    else:
        with warn_user():
            row = line_of_run(folder)
            if row is None:
                st.info("This run has no certificates, so it is on no board.")
            else:
                show_numbers(row)
                if not records_file(folder, "certify").exists() and not list(folder.glob("certify*.xz")):
                    st.warning(
                        plain(f"The certify records of {folder.name} are gone; they may have been deleted or moved.")
                    )
    if {"epoch", "loss", "lr"} <= set(run.history):
        st.header("Training", anchor="training")
        show_plot(training_plot(run.history), f"training {folder.name}", "Loss and learning rate against epochs")
    if run.spec and run.spec.get("start"):
        with warn_user():
            show_parent(run.spec["start"], folders)
    if run.protocols:
        show_records(run, folder)
    if run.spec:
        offer_images(run, folder)
    with st.container(key="settings"):
        show_settings(run)


def show_settings(run: Run) -> None:
    st.header("As it was asked for", anchor="settings")
    left, right = st.columns(2)
    with left.expander("Settings"):
        st.json(run.spec or {}, expanded=1)
    with right.expander("Environment"):
        st.json(run.environment or {})


st.title("Run", anchor=False)
runs = places().runs
folders = run_folders(*reversed(kept_folders(all_roots())), runs / "studies", runs)
if folders:
    show_run(runs, folders)
else:
    st.info("No run here. Begin one: `suite run --method heat --dataset digits`")
