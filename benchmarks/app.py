"""How the app does with many rows: time to a table, bytes on the wire, and memory after many pages.

Makes the store of `benchmarks/board.py` with --rows rows of one seed each, serves it with `suite app`, and opens it in
a browser ($SUITE_BROWSER, else chromium): the board's table cold and warm; then 50 pages by three visitors.

    python benchmarks/app.py [--rows 2000] [--images 500]
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import board

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # noqa: E501  # fmt: skip
PAGES = ("?board=cifar10", "compare?board=cifar10", "run?board=cifar10", "?board=cifar10&order=0.25", "about")
TABLE = "CIFAR-10: σ = 0.1, top-1, {images} images, n = 1000, α = 0.001"  # of the rows that are made
VISITORS, VIEWS = 3, 50


@contextmanager
def served(runs: Path) -> Iterator[tuple[str, int]]:
    """The app on a store: its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "suite", "app", "--runs", str(runs), "--port", str(port)]
    server = subprocess.Popen(
        command, env=os.environ | {"STREAMLIT_SERVER_HEADLESS": "true"}, stdout=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health").close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        server.terminate()
        server.wait()


def memory(pid: int) -> float:
    """MiB that a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


class Visitor:
    """A visitor's tab, which counts what comes over the wire."""

    def __init__(self, browser: Any, address: str):
        self.tab, self.address, self.bytes = browser.new_context().new_page(), address, 0
        self.tab.set_default_timeout(120_000)
        self.tab.on("websocket", lambda line: line.on("framereceived", self.count))
        session = self.tab.context.new_cdp_session(self.tab)
        session.send("Network.enable")
        session.on("Network.loadingFinished", lambda event: self.add(event["encodedDataLength"]))

    def count(self, frame: str | bytes) -> None:
        self.add(len(frame))

    def add(self, size: float) -> None:
        self.bytes += int(size)

    def open(self, where: str) -> tuple[float, int]:
        """A page: seconds to its table or heading, and bytes until it stands still."""
        begun, before = time.perf_counter(), self.bytes
        self.tab.goto(f"{self.address}/{where}")
        self.tab.locator("[data-testid=stDataFrame] canvas, h1").last.wait_for()
        seconds = time.perf_counter() - begun
        self.tab.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        self.tab.wait_for_timeout(500)
        return seconds, self.bytes - before


def main() -> None:
    from playwright.sync_api import sync_playwright

    from leaderboards.render.site_page import slug

    parser = argparse.ArgumentParser(description="The app's speed and memory.")
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--images", type=int, default=500)
    given = parser.parse_args()
    chrome = os.environ.get("SUITE_BROWSER") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder:
        board.store(Path(folder), given.rows, given.images, seeds=1)
        with served(Path(folder) / "runs") as (address, pid), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chrome, args=FLAGS)
            print(f"{given.rows} rows, {given.images} images; fresh: {memory(pid):.0f} MiB")
            visitors = [Visitor(browser, address) for _ in range(VISITORS)]
            for name in ("cold", "warm"):
                seconds, size = visitors[0].open(f"{PAGES[0]}&table={slug(TABLE.format(images=given.images))}")
                print(f"table, {name}: {seconds:.2f} s, {size / 1e6:.2f} MB, {memory(pid):.0f} MiB")
            for view in range(VIEWS):
                visitors[view % VISITORS].open(PAGES[view // VISITORS % len(PAGES)])
            print(f"after {VIEWS} pages by {VISITORS} visitors: {memory(pid):.0f} MiB")


if __name__ == "__main__":
    main()
