"""The app in a real browser, on a store made by `suite run`: a reader's way through every page."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.cli import TINY, options, succeed

BROWSER = os.environ.get("SUITE_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # noqa: E501  # fmt: skip
METHOD = "<img src=x onerror=\"document.title='taken'\"> [x](javascript:alert(1)) $\\frac{1}{2}$"  # somebody's method
FOLDER = "<b>bold<b> [x](javascript:alert(1)) $2$"  # and run


TUNE = "tune --method heat --dataset digits --trials 2 --n 100 --images 20 --search lr=1e-3:1e-1:log --set epochs=0.2"


pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods' runs with certificates and attacks, one whose names are meant to do harm, and a study."""
    runs = tmp_path_factory.mktemp("runs")
    plain = {name: value for name, value in TINY.items() if "start" not in name}
    extra = {"protocols": "accuracy,certify,attack", "attack.images": 10, "attack.draws": 2, "n0": 20}
    made = [TINY | extra, plain | extra | {"method": "randomized-smoothing", "epochs": 1}]
    lines = [["run", *options(settings)] for settings in made] + [[*TUNE.split(), "--set", "start.training.epochs=0.5"]]
    lines = [[*line, "--no-track", "--runs", str(runs)] for line in lines]
    for line in lines:
        succeed(*line)
    shutil.copytree(next(runs.glob("heat-*")), hostile := runs / FOLDER)
    result = json.loads((hostile / "result.json").read_text())
    (hostile / "result.json").write_text(json.dumps(result | {"method": METHOD, "recipe": "other", "claim": METHOD}))
    return runs


@pytest.fixture(scope="module")
def address(store: Path) -> Iterator[str]:
    """Where `suite app` serves the store."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"STREAMLIT_SERVER_HEADLESS": "true"}
    command = [sys.executable, "-m", "suite", "app", "--runs", str(store), "--port", str(port)]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health").close()
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    if not BROWSER:
        missing = "no browser: install Debian's chromium, or name one in SUITE_BROWSER"
        if os.environ.get("SUITE_REQUIRE_BROWSER"):
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)


class Reader:
    """A reader's tab, which waits until a page has run to its end and notes what must not happen."""

    def __init__(self, context: Any, address: str):
        self.tab = context.new_page()
        self.tab.set_default_timeout(30_000)
        self.address, self.dialogs = address, list[str]()
        self.tab.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))

    def open(self, where: str) -> None:
        self.tab.goto(where if where.startswith("http") else f"{self.address}/{where}")
        self.tab.locator("h1").wait_for()
        self.settled()

    def settled(self) -> None:
        self.tab.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        self.tab.wait_for_timeout(300)
        self.tab.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        assert self.tab.locator("[data-testid=stException]").count() == 0

    def choose(self, label: str, option: str) -> None:
        """Pick an option of the list that opens for what is typed."""
        box = self.tab.get_by_role("combobox", name=label).first
        entry = self.tab.get_by_role("option").filter(has_text=option).first
        for _ in range(5):  # a page that is drawn again closes the list
            box.click()
            box.press_sequentially(option, delay=20)
            self.tab.wait_for_timeout(1_000)
            if entry.is_visible():
                break
            self.tab.keyboard.press("Escape")
            box.fill("")
        entry.click()
        self.tab.keyboard.press("Escape")
        self.settled()

    def table(self) -> pd.DataFrame:
        """The page's first table, by its own download."""
        with self.tab.expect_download() as saved:
            self.tab.get_by_role("button", name="Table as CSV").first.click()
        return pd.read_csv(io.BytesIO(Path(saved.value.path()).read_bytes()))

    def column(self, number: int, rows: int) -> list[str]:
        """A column of the first table, as it is drawn."""
        cells = (self.tab.get_by_test_id(f"glide-cell-{number}-{row}").first for row in range(rows))
        return [cell.text_content() or "" for cell in cells]

    def legend(self) -> list[str]:
        """The names of the first plot's lines."""
        names = self.tab.locator(".js-plotly-plot").first.locator(".legendtext")
        names.first.wait_for()
        return names.all_text_contents()


@pytest.fixture(scope="module")
def desk(browser: Any) -> Any:
    return browser.new_context(viewport={"width": 1280, "height": 1400})


@pytest.fixture
def reader(desk: Any, address: str) -> Iterator[Reader]:
    reader = Reader(desk, address)
    yield reader
    assert reader.dialogs == []
    assert reader.tab.title() != "taken"
    assert reader.tab.locator("a[href^=javascript], img[src=x]").count() == 0
    reader.tab.close()


def test_the_board_is_filtered_sorted_and_read_off(reader: Reader, store: Path) -> None:
    reader.open("")
    table = reader.table()
    results = [json.loads(file.read_text()) for file in store.glob("*/result.json")]
    assert sorted(table["ACR"]) == pytest.approx(sorted(result["acr"] for result in results))
    assert table["ACR"].is_monotonic_decreasing
    assert METHOD in table["method"].tolist()

    methods = list(table).index("method")
    header = reader.tab.get_by_test_id("stDataFrame").first.bounding_box()
    for way in (False, True):  # a click on the header sorts up, another one down
        reader.tab.mouse.click(header["x"] + 120, header["y"] + 15)
        reader.tab.wait_for_timeout(400)
        drawn = reader.column(methods, len(table))
        assert drawn == sorted(drawn, key=str.lower, reverse=way)

    point = """
        gd => { const box = gd.getBoundingClientRect(), l = gd._fullLayout, t = gd.data.find(t => t.mode == 'markers');
                return [box.x + l.xaxis._offset + l.xaxis.l2p(t.x[0]), box.y + l.yaxis._offset + l.yaxis.l2p(t.y[0])] }
    """
    plot = reader.tab.locator(".js-plotly-plot").first
    plot.scroll_into_view_if_needed()
    reader.tab.mouse.move(*plot.evaluate(point))
    hover = plot.locator(".hoverlayer .hovertext").first
    hover.wait_for()
    r, share = re.search(r"r = ([\d.]+): ([\d.]+) %", hover.text_content() or "").groups()  # type: ignore[union-attr]
    assert float(share) == pytest.approx(table[f"r {r}"].iloc[0], abs=0.05)

    reader.tab.get_by_text("Filters", exact=True).click()
    reader.settled()
    reader.choose("Method", "randomized-smoothing")
    assert reader.table()["method"].tolist() == ["randomized-smoothing"]
    reader.tab.wait_for_url("**method=randomized-smoothing*")


def test_a_shared_view_opens_as_it_was(reader: Reader, browser: Any, address: str) -> None:
    reader.open("")
    reader.tab.get_by_text("dropped (the paper's)").click()
    reader.settled()
    tags = reader.tab.get_by_test_id("stMultiSelect").last.locator("[data-baseweb=tag], [data-testid=stMultiSelectTag]")
    before = reader.tab.get_by_text("heat, cnn, seed 0", exact=True).first
    before.wait_for()
    reader.tab.get_by_role("button", name="Remove heat, cnn, seed 0").or_(
        tags.filter(has_text="heat, cnn, seed 0").get_by_role("button")
    ).first.click()
    reader.settled()
    reader.tab.wait_for_url("**rows-*")
    own = reader.legend()
    assert "heat, cnn, seed 0" not in own
    assert any("randomized-smoothing" in name for name in own)
    other = Reader(browser.new_context(), address)
    other.open(reader.tab.url)
    assert other.legend() == own
    assert other.table().equals(reader.table())
    other.tab.context.close()


def test_from_the_board_to_a_run_and_its_images(reader: Reader, store: Path) -> None:
    name = next(store.glob("randomized-smoothing-*")).name
    reader.open("")
    reader.tab.get_by_role("link", name="Open randomized-smoothing, cnn, seed 0").click()
    reader.tab.wait_for_url(f"**/run?run={name}")
    reader.settled()
    shown = reader.table().set_index("metric")["value"]
    assert shown["run_id"] == name
    reader.tab.get_by_text("Show images").click()
    reader.tab.get_by_text(re.compile("clean: ")).wait_for()
    reader.settled()
    assert reader.tab.locator("[data-testid=stImage] img").count() >= 2
    reader.choose("Protocol", "attack")
    reader.tab.wait_for_url("**protocol=attack*")


def test_two_rows_then_the_paper(reader: Reader, store: Path) -> None:
    heat, smoothing = (next(store.glob(f"{name}-*")).name for name in ("heat", "randomized-smoothing"))
    reader.open(f"compare?rows-of=digits&a={heat}&b={smoothing}&r=0.1")
    counts = reader.table().set_index("certified by")["images"]
    own = [json.loads((store / name / "result.json").read_text())["certified_accuracy"]["0.1"] for name in (heat, smoothing)]  # noqa: E501  # fmt: skip
    assert counts.sum() == 30
    assert (counts["both"] + counts["only A"]) / 30 == pytest.approx(own[0])
    assert (counts["both"] + counts["only B"]) / 30 == pytest.approx(own[1])
    with reader.tab.expect_download() as saved:
        reader.tab.get_by_role("button", name="Plot as HTML").first.click()
    page = Path(saved.value.path()).read_text()
    assert "Plotly.newPlot" in page
    assert heat.split("-")[0] in page
    reader.tab.get_by_role("link", name="Paper").click()
    reader.tab.get_by_text("The paper's figures and tables").wait_for()
    reader.settled()
    of_paper = reader.table().query("source.str.startswith('the paper')").set_index("row")
    assert of_paper.loc["heat", "0.1"] == 82.0
    reader.choose("Item", "Figure 4")
    assert reader.tab.locator(".js-plotly-plot").count() == 1


def test_a_study(reader: Reader) -> None:
    reader.open("")
    reader.tab.get_by_role("link", name="Studies").click()
    reader.tab.wait_for_url("**/studies")
    reader.settled()
    assert reader.table()["finished"].tolist() == [2]
    reader.tab.get_by_text("suite run --method heat").wait_for()
    assert reader.tab.locator(".js-plotly-plot").count() >= 2


def test_a_phone_in_the_dark_scrolls_down_alone(browser: Any, address: str) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    reader = Reader(phone, address)
    for view in ("", "compare?rows-of=digits", "run?images=true", "paper", "studies"):
        reader.open(view)
        assert reader.tab.locator("[data-testid=stMain]").evaluate("e => e.scrollWidth") <= 390, view
        assert reader.tab.evaluate("document.documentElement.scrollWidth") <= 390, view
        page = reader.tab.locator("[data-testid=stApp]").evaluate("e => getComputedStyle(e).backgroundColor")
        assert max(map(int, re.findall(r"\d+", page)[:3])) < 60, view
        plot = reader.tab.locator(".js-plotly-plot .main-svg").first
        assert plot.evaluate("e => getComputedStyle(e).backgroundColor") == "rgba(0, 0, 0, 0)", view
    phone.close()


def test_names_meant_to_do_harm_are_text(reader: Reader) -> None:
    """The fixture sees to it that no page of these ran a script, drew an image or has a link that does."""
    reader.open("")
    assert any(METHOD in name for name in reader.legend())
    assert METHOD in " ".join(reader.tab.get_by_test_id("stCaptionContainer").all_text_contents())
    assert METHOD in " ".join(reader.tab.get_by_role("link").all_text_contents())
    for where in (f"run?run={FOLDER}", f"compare?rows-of=digits&a={FOLDER}"):
        reader.open(where)
        assert FOLDER in " ".join(reader.tab.locator("body").all_text_contents()) or FOLDER in [
            box.input_value() for box in reader.tab.get_by_role("combobox").all()
        ]
