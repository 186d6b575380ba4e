"""The app in a real browser, on a store made by `suite run`: a reader's way through every page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pandas as pd
import pytest
from helpers.browser import WATCH, axe_serious, layout_shift
from helpers.cli import TINY, options, succeed
from helpers.reader import Reader
from helpers.serving import free_port, wait_until_served

METHOD = "<img src=x onerror=\"document.title='taken'\"> [x](javascript:alert(1)) $\\frac{1}{2}$"  # somebody's method
FOLDER = "<b>bold<b> [x](javascript:alert(1)) $2$"  # and run


TUNE = "tune --method heat --dataset digits --trials 2 --n 100 --images 20 --search lr=1e-3:1e-1:log --set epochs=0.2"


pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods' runs with certificates and attacks, one whose names are meant to do harm, and a study."""
    runs = tmp_path_factory.mktemp("runs")
    plain = {name: value for name, value in TINY.items() if "start" not in name}
    extra = {"protocols": "accuracy,certify,attack,audit", "attack.images": 10, "attack.draws": 2, "n0": 20}
    extra |= {"audit.images": 10}
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
    port = free_port()
    environment = os.environ | {"STREAMLIT_SERVER_HEADLESS": "true"}
    command = [sys.executable, "-m", "suite", "app", "--runs", str(store), "--port", str(port)]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_until_served(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


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


PAGES = ("Compare", "Run", "Paper", "Studies", "Submit a row", "About")
ASKED = {"board": ["digits"], "abstentions": ["dropped"], "columns": ["empirical"]}


def test_a_board_is_kept_on_every_page_by_back_and_by_a_reload(reader: Reader) -> None:
    reader.open("leaderboard?board=digits&abstentions=dropped&columns=empirical")
    assert "Digits" in reader.tab.title()
    for page in PAGES:
        reader.go(page)
        assert reader.query() == ASKED, page
    titles = {reader.tab.title()}
    for _ in PAGES:
        reader.back()
        assert reader.query() == ASKED
        titles.add(reader.tab.title())
    assert len(titles) == 1 + len(PAGES)  # each says which page it is of
    assert urlsplit(reader.tab.url).path == "/leaderboard"
    with reader.waiting():
        reader.tab.reload()
    assert reader.query() == ASKED
    assert reader.tab.get_by_role("combobox", name="Board").first.input_value() in ("digits", "")
    assert "Digits" in (reader.tab.locator("h1").text_content() or "")


def test_a_control_writes_into_the_address_and_back_takes_it_out(reader: Reader) -> None:
    reader.open("?board=digits")
    reader.choose("Rank by", "r = 0.2")
    reader.tab.wait_for_url("**order=0.2*")
    assert "certified accuracy at r = 0.2" in (reader.tab.locator("body").text_content() or "")
    search = reader.tab.get_by_role("searchbox").or_(reader.tab.get_by_placeholder("method, network, citation")).first
    with reader.waiting():
        search.fill("smoothing")
        search.press("Enter")
    reader.tab.wait_for_url("**search=smoothing*")
    reader.tab.get_by_text("Filters (1): ").wait_for()
    assert reader.table()["method"].tolist() == ["randomized-smoothing"]
    with reader.waiting():
        reader.tab.get_by_role("button", name="Clear the filters").click()
    assert reader.query() == {"board": ["digits"], "order": ["0.2"]}
    reader.back()
    assert reader.query()["search"] == ["smoothing"]
    reader.choose("Board", "cifar10")
    reader.tab.wait_for_url("**board=cifar10*")
    assert reader.query() == {"board": ["cifar10"]}  # filters and order were of the other board


def test_ticked_rows_drive_the_plot_compare_and_a_drawer(
    reader: Reader, store: Path, browser: Any, address: str
) -> None:
    reader.open("?board=digits")
    table = reader.table()
    results = [json.loads(file.read_text()) for file in store.glob("*/result.json")]
    assert sorted(table["acr"]) == pytest.approx(sorted(result["acr"] for result in results))
    assert table["acr"].is_monotonic_decreasing
    reader.tick(0, 2)
    rows = [table["run_id"][0], table["run_id"][2]]
    assert reader.query()["rows"] == rows
    assert len(reader.legend()) == 2
    hover(reader, table)
    other = Reader(browser.new_context(), address)
    other.open(reader.tab.url)
    assert other.legend() == reader.legend()  # a link shows what one sees
    other.tab.context.close()
    with reader.waiting():
        reader.tab.get_by_role("button", name=re.compile("^Open .*,")).first.click()
    drawer = reader.tab.get_by_role("dialog")
    drawer.get_by_text("Its command").wait_for()
    assert reader.query()["row"] == rows[:1]
    with reader.tab.expect_download() as saved:
        drawer.get_by_role("button", name="30 records as CSV").click()
    assert len(pd.read_csv(saved.value.path())) == 30
    with reader.waiting():
        drawer.get_by_role("button", name="Close").click()
    drawer.wait_for(state="detached")
    assert "row" not in reader.query()
    reader.follow("Compare the ticked rows")
    assert urlsplit(reader.tab.url).path == "/compare"
    assert [reader.query()[letter] for letter in "ab"] == [[row] for row in rows]
    reader.tab.get_by_text(re.compile("(Undecided|ahead) ")).first.wait_for()
    with reader.tab.expect_download() as saved:
        reader.tab.get_by_role("button", name="Plot as HTML").first.click()
    assert "Plotly.newPlot" in Path(saved.value.path()).read_text()


def hover(reader: Reader, table: pd.DataFrame) -> None:
    """What the plot says of its first marked point is what the table says."""
    point = """
        gd => { const box = gd.getBoundingClientRect(), l = gd._fullLayout, t = gd.data.find(t => t.mode == 'markers');
                return [box.x + l.xaxis._offset + l.xaxis.l2p(t.x[0]), box.y + l.yaxis._offset + l.yaxis.l2p(t.y[0])] }
    """
    plot = reader.tab.locator(".js-plotly-plot").first
    plot.scroll_into_view_if_needed()
    reader.tab.mouse.move(*plot.evaluate(point))
    plot.locator(".hoverlayer .legend text").first.wait_for()
    said = " ".join(plot.locator(".hoverlayer text").all_text_contents())
    r = min(float(name[2:]) for name in table if re.fullmatch(r"r=[\d.]+", name))
    own = table.iloc[0]
    share, low, high = (100 * own[f"r={r}{end}"] for end in ("", "_low", "_high"))
    assert f"{share:.1f} % ({low:.1f}–{high:.1f}, n = 100, 30 images)" in said


def test_links_survive_another_seed_and_say_what_is_gone(reader: Reader, store: Path) -> None:
    reader.open("?board=digits")
    row = reader.table()["run_id"][0]
    link = f"?board=digits&rows={row}&row={row}"
    result = json.loads((store / row / "result.json").read_text())
    shutil.copytree(store / row, another := store / f"another-{row}")
    try:  # a run of the same recipe, so of the same row
        (another / "result.json").write_text(json.dumps(result | {"seed": 7}))
        reader.open(link)
        reader.tab.get_by_role("dialog").get_by_text("2 seeds").first.wait_for()
        assert reader.said() == ""
        assert len(reader.legend()) == 1
    finally:
        shutil.rmtree(another)
    reader.open("?board=nosuch&rows=gone&table=old")
    for part in ("board nosuch", "the row gone", "a table that is not here"):
        assert f"The link asks for {part}" in reader.said()


def test_from_a_run_to_its_images_and_its_row(reader: Reader, store: Path) -> None:
    name = next(store.glob("randomized-smoothing-*")).name
    reader.open(f"run?board=digits&run={name}")
    numbers = " ".join(reader.tab.get_by_test_id("stMetric").all_text_contents())
    result = json.loads((store / name / "result.json").read_text())
    assert f"{result['acr']:.4f}" in numbers
    with reader.waiting():
        reader.tab.get_by_text("Show images").click()
    reader.tab.get_by_text(re.compile("clean: ")).wait_for()
    assert reader.tab.locator("[data-testid=stImage] img").count() >= 2
    reader.choose("Protocol", "attack")
    reader.tab.wait_for_url("**protocol=attack*")
    reader.follow("Its row on the board")
    reader.tab.get_by_role("dialog").wait_for()
    assert reader.query()["row"] == [name]


def test_the_legend_is_laid_out_in_a_font_that_a_saved_image_has(reader: Reader) -> None:
    reader.open("paper?item=Figure+1a")
    reader.legend()
    of_the_page = reader.tab.evaluate("[...document.fonts].map(font => font.family.replaceAll('\"', ''))")
    text = reader.tab.locator(".infolayer .legendtext").first
    used = text.evaluate("text => getComputedStyle(text).fontFamily")
    assert of_the_page
    assert not [family for family in of_the_page if family in used]


def test_the_paper_and_a_study(reader: Reader) -> None:
    reader.open("paper?item=Figure+1a")
    assert "borne out" in reader.table()["verdict"].tolist()
    reader.choose("Item", "Figure 4")
    assert reader.tab.locator(".js-plotly-plot").count() == 1
    reader.go("Studies")
    assert reader.table()["finished"].tolist() == [2]
    reader.tab.get_by_text("suite run --method heat").wait_for()
    assert reader.tab.locator(".js-plotly-plot").count() >= 2


def test_a_phone_in_the_dark_scrolls_down_alone(browser: Any, address: str) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    reader = Reader(phone, address)
    for view in ("?board=digits", "compare?board=digits", "run?images=on", "paper", "about"):
        reader.open(view)
        assert reader.tab.locator("[data-testid=stMain]").evaluate("e => e.scrollWidth") <= 390, view
        assert reader.tab.evaluate("document.documentElement.scrollWidth") <= 390, view
        page = reader.tab.locator("[data-testid=stApp]").evaluate("e => getComputedStyle(e).backgroundColor")
        assert max(map(int, re.findall(r"\d+", page)[:3])) < 60, view
    plot = reader.tab.locator(".js-plotly-plot .main-svg")
    assert all(plot.nth(i).evaluate("e => getComputedStyle(e).backgroundColor") == "rgba(0, 0, 0, 0)"
               for i in range(plot.count()))  # fmt: skip
    phone.close()


def test_a_page_is_printed_as_small_as_makes_it_fit(reader: Reader) -> None:
    """A4 is 1040 pixels across, and tables and plots are as wide as the screen."""
    reader.open("?board=digits")
    zoom = "getComputedStyle(document.querySelector('[data-testid=stMain]')).zoom"
    reader.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert float(reader.tab.evaluate(zoom)) == 1
    reader.tab.emulate_media(media="print")
    assert float(reader.tab.evaluate(zoom)) * reader.tab.viewport_size["width"] == pytest.approx(1040)
    for control in (".st-key-navigation", ".st-key-controls"):
        assert not reader.tab.locator(control).is_visible()


def test_names_meant_to_do_harm_are_text(reader: Reader) -> None:
    """The fixture sees to it that no page of these ran a script, drew an image or has a link that does."""
    reader.open(f"?board=digits&rows={quote(FOLDER)}&row={quote(FOLDER)}")
    drawer = reader.tab.get_by_role("dialog")
    drawer.wait_for()
    tables = drawer.get_by_test_id("stTable")
    tables.nth(1).wait_for()
    for shown in (drawer.first, tables.nth(1)):  # its title, and among its settings
        assert METHOD in (shown.text_content() or "").replace("\u2060", "")
    for where in ("run?board=digits&run=", "compare?board=digits&a="):
        reader.open(f"{where}{quote(FOLDER)}")
        assert reader.said() == ""
    outside = [link.get_attribute("href") or "" for link in reader.tab.get_by_role("link").all()]
    assert not [link for link in outside if link.startswith("http") and not link.startswith(reader.address)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_what_axe_calls_serious(scheme: str, browser: Any, address: str, store: Path) -> None:
    """Contrast, names of controls, headings in order, and what else axe-core finds by itself."""
    reader = Reader(browser.new_context(color_scheme=scheme), address)
    name = next(store.glob("heat-*")).name
    views = ("?board=digits", f"?board=digits&row={name}", "?board=cifar10&method=heat", "compare?board=digits",
             f"run?run={name}", "paper", "studies", "submit", "about")  # fmt: skip
    for view in views if scheme == "light" else views[1:5]:
        reader.open(view)
        assert axe_serious(reader.tab) == [], view
        levels = [
            int(tag[1]) for tag in reader.tab.locator("h1, h2, h3").evaluate_all("all => all.map(e => e.tagName)")
        ]
        assert levels[0] == 1 or "row=" in view
        assert all(after - before <= 1 for before, after in pairwise(levels)), view
    reader.tab.context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_moves_under_a_readers_eyes(width: int, browser: Any, address: str, store: Path) -> None:
    """Cumulative layout shift of at most 0.1, with an empty browser's cache (the first page) and with a full one."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.add_init_script(WATCH)
    reader = Reader(context, address)
    name = next(store.glob("heat-*")).name
    for view in ("run?board=digits", "?board=digits", f"?board=digits&row={name}", "compare?board=digits",
                 f"run?run={name}", "paper", "studies", "submit", "about"):  # fmt: skip
        reader.open(view)
        reader.drawn()
        shift, moved = layout_shift(reader.tab)
        assert shift <= 0.1, (view, moved)
    context.close()
