"""What `suite app` serves: Streamlit's pages, with their style, title and preview in the page itself.

So nothing moves when these arrive, and a link that is pasted somewhere shows what it leads to.
"""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from app.names import PAGES, page_title
from app.style import STYLE
from leaderboards.headline import MEASURED
from leaderboards.links import BOARD
from leaderboards.published import all_roots
from suite.boards.board import boards, load_board

SHELL = (Path(st.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")


def page(request: Request) -> HTMLResponse:
    """Streamlit's own page, told what it is of."""
    asked = request.query_params.get("board", BOARD)
    board = load_board(asked if asked in boards(all_roots()) else BOARD)
    title, about = escape(page_title(request.url.path.strip("/"), board.title)), escape(MEASURED)
    head = (
        f'<title>{title}</title><meta name="description" content="{about}"><meta property="og:type" content="website">'
        f'<meta property="og:title" content="{title}"><meta property="og:description" content="{about}">'
    )
    # the style comes after Streamlit's, which it changes
    shell = SHELL.replace("<title>Streamlit</title>", head, 1).replace("</body>", f"{STYLE}</body>", 1)
    return HTMLResponse(shell, headers={"Cache-Control": "no-cache"})


@asynccontextmanager
async def opened(_: object) -> AsyncIterator[None]:
    """Open a browser where there is one, as `streamlit run` does."""
    if not st.get_option("server.headless"):
        address = f"http://{st.get_option('browser.serverAddress')}:{st.get_option('server.port')}"
        asyncio.get_running_loop().call_soon(webbrowser.open, address)
    yield


app = st.App(
    Path(__file__).with_name("main.py"), routes=[Route(f"/{name}", page) for name in ("", *PAGES)], lifespan=opened
)
