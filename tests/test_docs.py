"""The documentation: its commands and programs run, and its settings, fields and links are those of the code."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import typer
import yaml
from helpers.cli import TINY
from helpers.known import small_images, small_model
from helpers.pages import BLOCK, COLUMNS, DOCS, ROOT, blocks, fields_of, name, shown, tables

from leaderboards.render.cells import NAMES
from leaderboards.render.schema import schema
from leaderboards.rows import COMPARABLE
from methods import METHODS, Settings
from suite import certify
from suite.cli import main as cli
from suite.experiments import experiment  # noqa: F401  -- bound to the pipeline's `run` before a test replaces that
from suite.pipeline import Machine, run
from suite.protocols.protocol import columns as protocol_columns
from suite.spec.run_spec import PROTOCOLS, RunSpec
from suite.spec.sections import Training

METHODS_DOCS, PROTOCOLS_DOCS = DOCS / "reference" / "methods", DOCS / "reference" / "protocols.md"


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


PARSED = "long: parsed only"


ELSEWHERE = re.compile(r"run by (tests/\w+\.py)")


EXAMINED = {"run", *(name for name in PROTOCOLS.paths() if PROTOCOLS.get(name).settings)}  # they make a spec


# Commands and programs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run in `runs`, and somebody's checkpoint, which no command that is run reads."""
    place = tmp_path_factory.mktemp("docs")
    folder = run(RunSpec(**TINY), Machine(runs=place / "runs", track=False))
    (place / "theirs.th").write_bytes(b"weights")
    (place / "RUN").write_text(folder.path.name)
    return place


def lines(block: str) -> Iterator[list[str]]:
    """The commands of a block, as arguments."""
    for line in block.replace("\\\n", " ").splitlines():
        if arguments := shlex.split(line, comments=True):
            yield arguments


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_commands_and_programs_of_a_page_run_as_printed(
    page: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one folder, page after page; those of a block marked as long are only taken apart, and their settings tried.

    RUN stands for the id of a finished run. MLflow is left out. Programs get a `model`, `images` and `labels`,
    and print what a text block right after them says.
    """
    monkeypatch.chdir(place)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    finished = place / "runs" / place.joinpath("RUN").read_text()
    programs: dict[str, Any] = {"model": small_model(), "images": small_images(), "labels": torch.zeros(6)}
    printed = None
    for mark, language, content in blocks(page):
        if language == "text" and printed is not None:
            assert printed == content
        printed = None
        if mark and (elsewhere := ELSEWHERE.fullmatch(mark)):
            assert page.name in (ROOT / elsewhere[1]).read_text()
            continue
        assert mark in (None, PARSED), mark
        if language == "python":
            exec(compile(content, name(page), "exec", dont_inherit=True), programs)
            printed = capsys.readouterr().out
        for arguments in lines(content) if language == "sh" else ():
            if arguments[0] != "suite":
                assert mark == PARSED
                other_command(arguments)
                continue
            arguments = [finished.name if word == "RUN" else word for word in arguments[1:]]
            taken_apart(arguments)
            with monkeypatch.context() as patch:
                if mark == PARSED:
                    patch.setattr(sys.modules["suite.pipeline"], "run", lambda *_, **__: SimpleNamespace(path=finished))
                if mark != PARSED or arguments[0] in EXAMINED:
                    call(arguments, patch)
    capsys.readouterr()


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["suite", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code, arguments


def taken_apart(arguments: list[str]) -> None:
    """Raise where there is no such command, or it does not take these options with such values."""
    command: Any = typer.main.get_command(cli.app)
    while arguments and hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    command.callback = lambda **options: options
    command.main(arguments, standalone_mode=False)


def other_command(arguments: list[str]) -> None:
    """Of the commands that are not the suite's, those that are about the checkout have to fit it."""
    if arguments[0] == "make":
        assert re.search(rf"^{arguments[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif arguments[0] == "python" and arguments[1] != "-m":
        assert (ROOT / arguments[1]).is_file()
    else:
        known = (".", "cp", "git", "pip", "export", "python", "ruff", "mypy", "torchrun", "mlflow", "optuna-dashboard")
        assert arguments[0] in known, arguments


def test_the_slow_algorithm_of_the_documentation_is_certifys() -> None:
    """Class, radius and votes are equal, for images that are certified and for images that are abstained on."""
    program, _ = (
        content for _, language, content in blocks(DOCS / "concepts/the-algorithm.md") if language == "python"
    )
    assert len(program.rstrip().splitlines()) <= 35
    names: dict[str, Any] = {}
    exec(compile(program, "the-algorithm.md", "exec", dont_inherit=True), names)
    model, images = small_model(), small_images(4)
    settings: dict[str, Any] = {"sigma": 0.5, "n0": 70, "n": 130, "alpha": 0.01, "seed": 3}
    records = certify(model, images, torch.zeros(4), **settings)
    slowly = [names["certify_slowly"](model, image, index, **settings) for index, image in enumerate(images)]
    assert slowly == list(zip(records["predict"], records["radius"], records["count"], strict=True))
    assert {predict == -1 for predict, _, _ in slowly} == {True, False}


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_needs_no_network(tmp_path: Path) -> None:
    """Each command and each field of a row has its place, formulas are MathML, and nothing is loaded from elsewhere."""
    pytest.importorskip("mkdocs")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        build, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {page.relative_to(tmp_path).as_posix(): page.read_text() for page in tmp_path.rglob("*.html")}
    command: Any = typer.main.get_command(cli.app)
    for each in command.commands:
        assert f'id="suite-{each}"' in pages["reference/command-line.html"]
    for field in schema()["properties"]["rows"]["items"]["properties"]:
        assert f"<code>{field}</code>" in pages["reference/results.html"]
    formulas = re.findall(r"<math.*?</math>", "".join(pages.values()), re.DOTALL)
    assert len(formulas) > 100
    assert not [formula for formula in formulas if "\\" in formula]  # a command that became no symbol
    assert not any("arithmatex" in page or "<!-- site:" in page for page in pages.values())
    loaded = re.compile(r"""<(?:script|img|iframe)[^>]*src=["']?https?:|<link[^>]*stylesheet[^>]*href=["']?https?:""")
    assert not [name for name, page in pages.items() if loaded.search(page)]


def check(rows: list[dict[str, str]], fields: dict[str, Any], value: Callable[[str, dict[str, Any]], Any]) -> None:
    """Rows of a table of settings: each is a field, with its default, and its value in the profiles."""
    first = next(iter(rows[0]))
    for row in rows:
        setting = row[first].strip("`")
        for column in set(row) - {first, "meaning"}:
            right = fields[setting].default if column == "default" else value(setting, COLUMNS[column])
            assert row[column].strip("`") == shown(right), (setting, column)


def documented(page: Path, heading: str | None = None) -> list[dict[str, str]]:
    """The rows of the tables of settings on a page, or below one heading of it."""
    found = (rows for above, rows in tables(page) if "setting" in rows[0] and heading in (None, above))
    return [row for rows in found for row in rows]


OWN = {method: METHODS.get(method).Parameters for method in METHODS.builtin}


METHOD_PAGES = {method: METHODS_DOCS / f"{method}.md" for method in OWN if METHODS.get(method).trains}
METHOD_PAGES["checkpoint"] = DOCS / "how-to" / "your-own-model.md"


def test_every_setting_of_a_method_is_documented() -> None:
    """On its page, or on that of another method with the very same settings."""
    for method, parameters in OWN.items():
        pages = [METHOD_PAGES[other] for other in OWN if OWN[other] is parameters or other == method]
        names = {row["setting"].strip("`") for page in pages for row in documented(page)}
        assert names == set(parameters.model_fields if parameters is not Settings else ()), method


@pytest.mark.parametrize("method", METHOD_PAGES)
def test_the_settings_of_a_method_are_the_codes(method: str) -> None:
    def own(setting: str, column: dict[str, Any]) -> Any:
        return RunSpec(method=method, **column).parameters[setting]

    def recipe(setting: str, column: dict[str, Any]) -> Any:
        spec = RunSpec(method=method, **column)
        return spec.arch if setting == "arch" else getattr(spec.training, setting)

    for _, rows in tables(METHOD_PAGES[method]):
        if "setting" in rows[0]:
            check(rows, OWN[method].model_fields, own)
        elif "training" in rows[0]:
            check(rows, Training.model_fields | {"arch": None}, recipe)
    assert (METHODS_DOCS / "README.md").read_text().count(f"({method}.md)") == METHODS.get(method).trains


def test_every_setting_of_training_is_documented() -> None:
    rows = documented(METHODS_DOCS / "README.md")
    assert {row["setting"].strip("`") for row in rows} == set(Training.model_fields)
    check(rows, Training.model_fields, lambda *_: None)


@pytest.mark.parametrize("protocol", PROTOCOLS.paths())
def test_every_setting_of_a_protocol_is_documented(protocol: str) -> None:
    settings = PROTOCOLS.get(protocol).settings
    fields = settings.model_fields if settings else {}
    rows = documented(PROTOCOLS_DOCS, protocol)
    assert {row["setting"].strip("`") for row in rows} == set(fields)
    if rows:
        check(rows, fields, lambda setting, column: getattr(RunSpec(method="baseline", **column), protocol)
              .__getattribute__(setting))  # fmt: skip


@pytest.mark.slow
def test_every_field_of_a_record_is_documented(place: Path) -> None:
    """Of a run that went through every protocol."""
    given: dict[str, Any] = {"method": "baseline", "dataset": "digits", "epochs": 0.2, "protocols": "all", "n": 100}
    given |= {"images": 3, "lbound.images": 3, "attack.images": 2, "agreement.images": 3, "audit.images": 2}
    given |= {"timing.batch": 2, "timing.repeats": 3}
    folder = run(RunSpec(**given), Machine(runs=place / "all", track=False)).path
    for protocol in PROTOCOLS.paths():
        [file] = folder.glob(f"{protocol}-*.jsonl")
        record = json.loads(file.read_text().splitlines()[0])
        assert fields_of(PROTOCOLS_DOCS, protocol, "field") == set(record) - {"idx", "label", "claim"}, protocol


def test_every_column_of_a_board_is_documented() -> None:
    page = DOCS / "concepts" / "reading-a-row.md"
    [rows] = [rows for _, rows in tables(page) if "column" in rows[0]]
    columns = set(re.findall(r"`([^`]+)`", " ".join(row["column"] for row in rows)))
    headings = (column.heading for column in protocol_columns().values() if column.compact and column.heading)
    assert columns == {*NAMES, "0.1", *headings}
    assert fields_of(page, "What makes rows comparable", "field") == set(COMPARABLE)


# Links and files


def slugs(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere_and_files_that_are_named_exist(page: Path) -> None:
    text = BLOCK.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, fragment = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not fragment or fragment in slugs(there), target
    folders = "suite|methods|leaderboards|app|tests|docs|benchmarks"
    for file in re.findall(rf"`((?:{folders})/[\w./-]+\.\w+)`", text):
        assert (ROOT / file).is_file(), file


def test_no_page_is_out_of_reach() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    }  # fmt: skip
    assert set(DOCS.rglob("*.md")) <= linked


def test_the_citation_file_names_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license", "type"} <= set(citation)
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert all(author.keys() & {"name", "family-names"} for author in citation["authors"])
    assert all({"title", "authors", "year"} <= set(reference) for reference in citation["references"])
    assert project["version"] in (ROOT / "CHANGELOG.md").read_text()
    assert citation["authors"][0]["name"] in (ROOT / "LICENSE").read_text()
