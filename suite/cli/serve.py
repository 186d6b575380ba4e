"""`suite app`: the boards in a browser."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Annotated
from urllib.parse import quote

import typer

from suite.cli.options import RUNS, DataRoot, Runs
from suite.errors import UserError, require

EVERYWHERE = ("0.0.0.0", "::", "")
SETTINGS = {
    "server.showEmailPrompt": "false",  # else a first start waits for an address to be typed
    "server.fileWatcherType": "none",
    "server.maxUploadSize": "1",
    "server.disconnectedSessionTTL": "30",  # seconds that what a closed page held stays in memory
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.disableDataExport": "true",  # a table's own button has more columns
    "theme.light.primaryColor": "#005A8D",
    "theme.dark.primaryColor": "#56B4E9",
    "theme.light.textColor": "#000000",  # Streamlit fades headings and pinned columns: to 5.7:1 from black
    "theme.dark.textColor": "#FFFFFF",
    "logger.hideWelcomeMessage": "true",
}


def serve(
    runs: Runs = RUNS,
    data_root: DataRoot = None,
    storage: Annotated[str | None, typer.Option(help="of studies (default: studies.db in the runs)")] = None,
    host: Annotated[str, typer.Option(help="address to serve on; 0.0.0.0 lets other machines in")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    allow: Annotated[
        list[str] | None, typer.Option(help="a name that browsers may ask for the pages by; may be repeated")
    ] = None,
) -> None:
    """Open the leaderboard in a browser."""
    require("suite app", "app", "streamlit", "plotly")
    if host in EVERYWHERE:
        said = "anybody who reaches this machine can read its runs, settings, environments and studies: no password"
        print(f"warning: {said}", file=sys.stderr)
    name = "localhost" if host in EVERYWHERE else host
    address = f"http://{f'[{name}]' if ':' in name else name}:{port}"
    print(f"{address}  (the runs in {runs}; Ctrl-C ends it)", flush=True)
    Thread(target=read_ahead, args=(runs, address), daemon=True).start()
    from streamlit import net_util
    from streamlit.web import cli

    net_util.get_external_ip = lambda: None  # else it asks a server elsewhere, when a page elsewhere asks for data
    page = Path(__file__).parents[2] / "app" / "server.py"
    where = {"server.address": host, "server.port": str(port), "browser.serverAddress": name}
    flags = [f"--{option}={value}" for option, value in (SETTINGS | where).items()]
    flags += [f"--server.allowedHosts={other}" for other in allowed_hosts(host, allow or ())]
    arguments = [str(runs), str(data_root or ""), storage or ""]
    cli.main(["run", str(page), *flags, "--", *arguments], standalone_mode=False)


def allowed_hosts(host: str, more: Iterable[str]) -> list[str]:
    """The names by which a page may ask for data; a page of another name that leads here is refused (DNS rebinding)."""
    own = [socket.gethostname(), *own_addresses()] if host in EVERYWHERE else [host]
    return list(dict.fromkeys(["localhost", "127.0.0.1", "[::1]", *own, *more]))


def own_addresses() -> list[str]:
    """This machine's addresses, as its own files and interfaces have them."""
    try:
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)})
    except OSError:
        return []


def read_ahead(runs: Path, address: str) -> None:
    """Read the boards before anybody waits for them, and say where most of the reader's own runs are."""
    from leaderboards import read_results, table
    from leaderboards.links import BOARD
    from leaderboards.published import all_roots

    with suppress(OSError):  # the pages say so
        counts = Counter(result.dataset for result in read_results(runs)[0])
        for board, _ in counts.most_common(1):
            if board != BOARD:
                print(f"{address}/?board={quote(board)}  (most of your runs)", flush=True)
        for board in dict.fromkeys([BOARD, *counts]):
            with suppress(UserError):
                table(board, runs, published=all_roots())
