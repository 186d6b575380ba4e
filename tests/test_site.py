"""The static site: its pages are whole, lead somewhere, stay where they are, and show anybody's text as text."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from helpers.browser import axe_serious
from helpers.cli import Cli
from helpers.rows import MARGINS, RECORDS, margin, result, store

from leaderboards import table
from leaderboards.published import PUBLISHED
from leaderboards.published.kept import records_file
from leaderboards.render import site_board
from leaderboards.render.site import write_site
from leaderboards.render.site_page import slug

HOSTILE = "<script>alert(1)</script> \"quoted' a|b & $x$ &amp; </title> ../../up 50% #1 http://x.test"
MOST = 400_000  # bytes of a page
VOID = {"meta", "link", "br", "input", "img"}


class Whole(HTMLParser):
    """A page whose tags are closed in their order: its links, its text by tag, and the tags that it has."""

    def __init__(self, file: Path):
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.meta: dict[str, str] = {}
        self.plots: list[str] = []
        self.tags: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.feed(file.read_text(encoding="utf-8"))
        assert self.open == [], file

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        assert len(given) == len(attributes)
        self.tags.append(tag)
        self.links += [given[name] for name in ("href", "src") if name in given]
        if given.get("class") == "plot":
            self.plots.append(given["id"])
        if tag == "meta":
            self.meta[given.get("property") or given.get("name") or given.get("http-equiv", "")] = given.get(
                "content", ""
            )
        if tag not in VOID:
            self.open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text[self.open[-1]][-1] += data


def hostile(**settings: Any) -> dict[str, Any]:
    row = result("baseline", **settings)
    return row | {"method": HOSTILE, "arch": HOSTILE, "claim": HOSTILE, "command": HOSTILE, "date": HOSTILE}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Published rows: two seeds of one recipe, with an audit, one that deploys a pass, a margin, and anybody's text."""
    audit = {"audit": {"certify": {"attacked": 80, "violations": 19}}}
    vote = result() | {"date": "2025-03-01"} | audit
    one_pass = result("baseline") | {"date": "2025-02-01"} | audit
    margins = margin(arch="lipschitz-small") | {"date": "2024-12-31"}
    rows = [vote, result(seed=1) | {"date": "2025-03-02"}, one_pass, margins, hostile(n=2000)]
    store(tmp_path / "published" / "runs", *rows)
    for row in rows:
        folder = tmp_path / "published" / "runs" / row["run_id"]
        records = MARGINS if row["kind"] == "margin" else RECORDS
        records.to_json(records_file(folder, "certify"), orient="records", lines=True)
    return tmp_path / "published"


def pages(site: Path) -> dict[str, Whole]:
    return {file.relative_to(site).as_posix(): Whole(file) for file in sorted(site.rglob("*.html"))}


def check_links(site: Path, found: dict[str, Whole]) -> None:
    for place, page in found.items():
        for link in page.links:
            if not link.startswith("https://"):
                target = (site / place).parent / link
                assert target.is_file(), (place, link)
                assert target.resolve().is_relative_to(site.resolve())


def test_every_page_is_whole_and_every_link_leads_somewhere(root: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    write_site(site, root, repository="https://x.test/code")
    found = pages(site)
    check_links(site, found)
    assert [name for name in found if name.startswith("boards/")] == ["boards/digits.html"]
    assert len([name for name in found if name.startswith("rows/")]) == 5  # four rows, and the second seed's address
    for place, page in found.items():
        assert page.tags.count("h1") == 1
        assert page.meta["og:title"] == page.text["title"][0]
        assert page.meta["description"] == page.meta["og:description"] != ""
        assert not [link for link in page.links if link.startswith("//") or link.startswith("http:")]
        assert (site / place).stat().st_size < MOST
        drawn = re.findall(r'id="plots">(.*?)</script>', (site / place).read_text())
        wanted = {f"{name}-{n}" for text in drawn for name, own in json.loads(text).items() for n in range(len(own))}
        assert set(page.plots) == wanted, place
        assert bool(wanted) == (place.startswith(("boards/", "tables/", "rows/")) and "refresh" not in page.meta)
    reached = {"index.html"}
    for _ in found:
        links = [(place, link) for place in reached & found.keys() for link in found[place].links]
        inside = [(site / place).parent / link for place, link in links if not link.startswith("https://")]
        reached |= {target.resolve().relative_to(site.resolve()).as_posix() for target in inside}
    moved = {place for place, page in found.items() if "refresh" in page.meta}
    assert found.keys() - reached == moved
    assert (site / "site.js").stat().st_size > 10 * MOST  # plotly is there once
    assert not [name for name in found if "plotly.js v" in (site / name).read_text()]


def test_a_rows_page_says_what_is_guaranteed_of_what_and_where_it_is_from(root: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    write_site(site, root)
    row = result()
    text = (site / "rows" / f"{slug(row['run_id'])}.html").read_text()
    assert "The certificates hold for what this row deploys: vote of 100 passes." in text
    assert "audit: 19 of 80." in text
    assert "rank 1–3 of 3" in text  # five images tell none apart
    assert row["command"].replace("'", "&#x27;") in text
    assert '<td class="name">0.1</td><td class="number">60.0 ± 0.0<small>23.1–88.2</small></td>' in text
    [plots] = re.findall(r'<script type="application/json" id="plots">(.*?)</script>', text)
    [line] = json.loads(plots)["row"][0]["lines"]
    assert (line["accuracy"][0], len(line["x"])) == (60, 101)
    one_pass = (site / "rows" / f"{slug(result('baseline')['run_id'])}.html").read_text()
    assert "The certificates do not hold for what this row deploys." in one_pass
    of_margins = (site / "rows" / f"{slug(margin(arch='lipschitz-small')['run_id'])}.html").read_text()
    assert "The certificates hold for what this row deploys: pass." in of_margins
    assert "Nobody has attacked these certificates" in of_margins
    other = Whole(site / "rows" / f"{slug(result(seed=1)['run_id'])}.html")
    assert other.meta["refresh"] == f"0; url=../rows/{slug(row['run_id'])}.html"


def test_two_builds_are_the_same_bytes_and_a_new_row_moves_no_address(root: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    sizes = write_site(one, root, "https://x.test/b/")
    assert sizes == write_site(two, root, "https://x.test/b")
    for place, size in sizes.items():
        assert (one / place).read_bytes() == (two / place).read_bytes()
        assert (one / place).stat().st_size == size
    new = result("heat") | {"date": "2026-01-01"}
    store(root / "runs", new)
    RECORDS.to_json(records_file(root / "runs" / new["run_id"], "certify"), orient="records", lines=True)
    added = write_site(two, root, "https://x.test/b").keys() - sizes.keys()
    assert added == {f"rows/{slug(new['run_id'])}.html"}
    assert "Last updated 2025-03-02," in (one / "index.html").read_text()
    assert "Last updated 2026-01-01," in (two / "index.html").read_text()


def test_the_site_map_has_every_page_and_when_it_changed(root: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    write_site(site, root, "https://x.test/b")
    entries = ElementTree.parse(site / "sitemap.xml").getroot()
    space = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
    found = {entry.findtext(f"{space}loc"): entry.findtext(f"{space}lastmod") for entry in entries}
    assert set(found) == {f"https://x.test/b/{place}" for place in pages(site)}
    assert found["https://x.test/b/index.html"] == "2025-03-02"
    assert found[f"https://x.test/b/rows/{slug(hostile(n=2000)['run_id'])}.html"] is None  # its date is none
    page = Whole(site / "boards" / "digits.html")
    assert page.meta["og:url"] == "https://x.test/b/boards/digits.html"
    assert "https://x.test/b/boards/digits.html" in page.links  # the canonical address


def test_anybodys_text_is_text(root: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    write_site(site, root)
    page = Whole(site / "rows" / f"{slug(hostile(n=2000)['run_id'])}.html")
    assert page.text["h1"] == [f"{HOSTILE}, {HOSTILE}"]
    assert page.text["code"][-2] == HOSTILE  # the command; the footer's is the last
    assert page.tags.count("script") == 2
    assert HOSTILE in Whole(site / "boards" / "digits.html").text["a"]


def test_a_long_table_is_several_pages_and_a_board_shows_its_first_rows(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_board, "MOST", 2)
    monkeypatch.setattr(site_board, "FIRST", 1)
    site = tmp_path / "site"
    write_site(site, root)
    found = pages(site)
    check_links(site, found)
    own = [page for place, page in found.items() if place.startswith("tables/")]
    linked = [link for page in own for link in page.links if "/rows/" in link]
    assert len(linked) == len(set(linked)) + 1  # the margin stands in the tables of both numbers of draws
    assert "all 3 rows, and their curves" in found["boards/digits.html"].text["a"]
    monkeypatch.setattr(site_board, "ROOM", 0)
    write_site(site, root)
    assert (site / "boards" / "digits.html").read_text().count("<section") == 1  # the first, always
    check_links(site, pages(site))


def test_addresses() -> None:
    assert (
        slug("heat-cifar10-cnn-sigma0.25-seed0-8f5be8d0b5-571e87b5")
        == "heat-cifar10-cnn-sigma0.25-seed0-8f5be8d0b5-571e87b5"
    )
    assert re.fullmatch(r"cifar10-noise-0.25-[0-9a-f]{10}", slug("cifar10/noise_0.25"))
    names = ["a", "A", "a/b", "a-b", "a_b", "a b", "é", "è", "..", ".", "", "x" * 300, "x" * 301, "con.", "σ", "sigma"]
    slugs = [slug(name) for name in names]
    assert len({address.lower() for address in slugs}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,119}", address) for address in slugs)
    assert slug(slug("A")) != slug("A")  # nobody takes another row's address


def test_the_command_replaces_a_site_and_nothing_else(
    suite: Cli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaderboards.published.PUBLISHED", tmp_path / "none")
    site = tmp_path / "site"
    command = ["site", "build", "--out", str(site), "--board-root", str(root)]
    code, out, err = suite(*command)
    assert (code, "no sitemap.xml, which needs --url" in out, err) == (0, True, "")
    (site / "old.html").write_text("")
    (root / "runs" / result("baseline")["run_id"] / "result.json").write_text("{")
    code, out, err = suite(*command, "--url", "https://x.test", "--format", "json")
    assert (code, json.loads(out)["files"]) == (0, sum(file.is_file() for file in site.rglob("*")))
    assert re.fullmatch(r"left out: .*result.json is damaged \(.*\)\n", err)
    assert suite(*command, "--strict")[0] == 1
    assert suite(*command, "--url", "https://x.test")[0] == 0
    assert (site / "sitemap.xml").exists()
    assert not (site / "old.html").exists()
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    (tmp_path / "mine" / "site.css").write_text("")  # others have one, too
    assert "is there and is no site" in suite.mistake("site", "build", "--out", str(tmp_path / "mine"))
    assert "is there and is no site" in suite.mistake("site", "build", "--out", str(tmp_path / "mine" / "thesis.tex"))
    assert "--url takes an address" in suite.mistake(*command, "--url", "x.test")
    assert (tmp_path / "mine" / "thesis.tex").exists()
    (tmp_path / "empty").mkdir()
    assert suite("site", "build", "--out", str(tmp_path / "new"), "--board-root", str(tmp_path / "empty"))[0] == 0
    assert "Last updated" not in (tmp_path / "new" / "index.html").read_text()


@pytest.mark.slow
def test_the_site_of_the_repository(tmp_path: Path) -> None:
    """Each row of each board has a page, none is too large, and a published log's digest is on its row's page."""
    site = tmp_path / "site"
    sizes = write_site(site)
    assert max(size for place, size in sizes.items() if place.endswith(".html")) < MOST
    check_links(site, pages(site))
    for board in ("cifar10", "imagenet"):
        rows = table(board, tmp_path / "none")
        for _, row in rows.iterrows():
            assert f"rows/{slug(row['run_id'])}.html" in sizes
    published = rows[rows["source"] == "published"].iloc[0]["run_id"]
    [digest] = re.findall(r'^sha256 = "([0-9a-f]{64})"', (PUBLISHED / f"{published}.toml").read_text(), re.MULTILINE)
    assert digest in (site / "rows" / f"{slug(published)}.html").read_text()
    shutil.rmtree(site)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_pages_in_a_browser_from_the_disk(root: Path, tmp_path: Path, browser: Any, width: int, scheme: str) -> None:
    """They ask for nothing else, have no error, are as wide as the screen, sort a table, and print in light colours."""
    site = tmp_path / "site"
    write_site(site, root)
    wrong: list[str] = []
    screen: Any = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    tab = browser.new_context(**screen).new_page()
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    for file in [file for file in sorted(site.rglob("*.html")) if "refresh" not in Whole(file).meta]:
        tab.goto(f"file://{file}")
        tab.wait_for_load_state()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, file
    tab.goto(f"file://{site}/boards/digits.html")
    tab.locator(".plot .legendtext").first.wait_for()
    assert tab.locator(".plot .main-svg").count() > 0
    table = tab.locator(".board table").first
    methods = table.locator("tbody tr td:nth-child(2)").all_inner_texts()
    heading = table.locator("th button", has_text="method")
    heading.click()
    heading.click()
    assert table.locator("tbody tr td:nth-child(2)").all_inner_texts() == sorted(methods)
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    tab.context.close()
    assert wrong == []


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_of_the_site_has_what_axe_calls_serious(tmp_path: Path, browser: Any, scheme: str) -> None:
    """Of the repository's own site: its index, a long board, what papers print, a table, a row."""
    site = tmp_path / "site"
    sizes = write_site(site)
    row = table("cifar10", tmp_path / "none").iloc[0]["run_id"]
    a_table = min(place for place in sizes if place.startswith("tables/"))
    places = ("index.html", "boards/cifar10.html", "papers/cifar10.html", a_table, f"rows/{slug(row)}.html")
    tab = browser.new_context(color_scheme=scheme).new_page()
    for place in places:
        tab.goto(f"file://{site}/{place}")
        assert axe_serious(tab) == [], place
    tab.context.close()
