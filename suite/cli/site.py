"""The commands about the boards' static site."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from suite.cli.options import PLAIN, BoardRoot, Format, Output, out
from suite.errors import UserError, require
from suite.progress import megabytes

site = typer.Typer(help="All boards as a static site.", no_args_is_help=True)


@site.callback()
def _group() -> None:
    """All boards as a static site, which needs no server and no network."""


@site.command()
def build(
    folder: Annotated[Path, typer.Option("--out", help="where it goes; a site that is there is replaced")] = Path(
        "board-site"
    ),
    board_root: BoardRoot = None,
    url: Annotated[str, typer.Option(help="where it will lie, https://…: for sitemap.xml and links to it")] = "",
    strict: Annotated[bool, typer.Option(help="exit 1 if a damaged row was left out")] = False,
    repository: Annotated[str, typer.Option(help="the code's address, https://…: for links to it")] = "",
    format: Output = Format.table,
) -> None:
    """Build the site of all boards from published rows and kept runs: a page a board, a table and a row."""
    require("suite site build", "app", "plotly")
    from leaderboards.board import left_out
    from leaderboards.published import all_roots
    from leaderboards.render.site import MARK, write_site
    from leaderboards.render.site_page import NOWHERE
    from suite.boards.board import boards
    from suite.leftovers import beside, discard
    from suite.store.files import exchange

    root = all_roots(board_root)
    for name, address in (("--url", url), ("--repository", repository)):
        if address and not address.startswith(("https://", "http://")):
            raise UserError(f"{name} takes an address that begins with https://, not '{address}'")
    if folder.exists() and not (folder / MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there and is no site; --out takes a new folder, or a site to replace")
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    new = beside(folder.absolute(), folder.absolute().name)
    try:
        discard(new)
        sizes = write_site(new, root, url, repository)
        if folder.exists():
            exchange(new, folder.absolute())
        else:
            new.rename(folder)
    finally:
        discard(new)
    damaged = dict.fromkeys(fault for name in boards(root) for fault in left_out(name, NOWHERE, root))
    if damaged:
        print(f"left out: {'; '.join(damaged)}", file=sys.stderr)
        if strict:
            raise typer.Exit(1)
    largest = max((name for name in sizes if name.endswith(".html")), key=lambda name: sizes[name])
    if format is Format.json:
        print(json.dumps({"folder": str(folder), "files": len(sizes), "bytes": sum(sizes.values())}))
        return
    pages = sum(name.endswith(".html") for name in sizes)
    said = f"{folder}: {pages} pages, {megabytes(sum(sizes.values()))}; {largest} is the largest, {sizes[largest]:,} B"
    out.print(said if url else f"{said}; no sitemap.xml, which needs --url", **PLAIN)
