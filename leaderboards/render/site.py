"""All boards as a static site, from what the repository holds: published rows and kept runs. No server, no network.

Addresses stay the same when a site is built again: a row's is its id, a table's is what its rows have in common. Two
builds of the same rows are the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from leaderboards.published import PUBLISHED
from leaderboards.render import html
from leaderboards.render.site_board import board_page, index_page, table_pages, typed_page
from leaderboards.render.site_page import Page, read_boards, render
from leaderboards.render.site_row import row_pages
from suite.boards.board import Roots

MARK = ".suite-site"  # the file by which a site is known


def build_pages(root: Roots = PUBLISHED, repository: str = "") -> Iterator[Page]:
    """The pages of a site, the index first."""
    shown = list(read_boards(root))
    yield index_page(shown, repository)
    for board in shown:
        yield board_page(board)
        for block in board.blocks:
            yield from table_pages(board, block)
        if board.typed:
            yield typed_page(board)
        yield from row_pages(board)


def write_site(out: Path, root: Roots = PUBLISHED, url: str = "", repository: str = "") -> dict[str, int]:
    """Write a site into the folder `out`, which is empty or not there; gives the size of each file in bytes.

    `url` is where it will lie, for the site map and the pages' own addresses; `repository` is the code's address.
    """
    url, repository = url.rstrip("/"), repository.rstrip("/")
    pages = list(build_pages(root, repository))
    newest = max(page.date for page in pages)
    sizes: dict[str, int] = {}
    for place, content in shared_files(pages, url):
        sizes[place] = write(out / place, content)
    for page in pages:
        sizes[page.place] = write(out / page.place, render(page, url, repository, newest))
    return sizes


def write(file: Path, content: str) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.write_bytes(content.encode())


def shared_files(pages: list[Page], url: str) -> Iterator[tuple[str, str]]:
    """What the pages share, and the site map, which needs the site's address."""
    from plotly.offline import get_plotlyjs

    yield MARK, "This folder is made by 'suite site build', which replaces it.\n"
    yield "site.css", html.part("page.css") + html.part("site.css")
    yield "site.js", "\n".join([get_plotlyjs(), html.part("page.js"), html.part("site.js")])
    if url:
        lines = [
            f"<url><loc>{escape(f'{url}/{page.place}')}</loc>"
            f"{f'<lastmod>{page.date}</lastmod>' if page.date else ''}</url>"
            for page in pages
        ]
        around = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
        yield "sitemap.xml", "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', around, *lines, "</urlset>\n"])
        yield "robots.txt", f"User-agent: *\nAllow: /\nSitemap: {url}/sitemap.xml\n"
