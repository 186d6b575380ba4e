"""A reader of the app's pages, in a browser."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg


class Reader:
    """A reader's tab, which waits until a page has run to its end and notes what must not happen."""

    def __init__(self, context: Any, address: str):
        self.tab = context.new_page()
        self.tab.set_default_timeout(30_000)
        self.address, self.dialogs = address, list[str]()
        self.asked = self.answered = 0  # runs of the page's script
        self.tab.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.tab.on("websocket", self.watch)

    def watch(self, line: Any) -> None:
        """Count what the page asks its server to run, and note when all of that has run."""

        def sent(frame: bytes) -> None:
            self.asked += BackMsg.FromString(frame).WhichOneof("type") == "rerun_script"

        def received(frame: bytes) -> None:
            message = ForwardMsg.FromString(frame)
            if (
                message.WhichOneof("type") == "script_finished"
                and message.script_finished == message.FINISHED_SUCCESSFULLY
            ):
                self.answered = self.asked

        line.on("framesent", sent)
        line.on("framereceived", received)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Until what is done has been asked of the server, and the page shows the answer."""
        before = self.asked
        yield
        for _ in range(600):
            if before < self.asked == self.answered:
                break
            self.tab.wait_for_timeout(50)
        else:
            pytest.fail("the page has not run within half a minute")
        self.tab.locator("[data-testid=stApp][data-test-script-state=notRunning] h1").first.wait_for()
        assert self.tab.locator("[data-testid=stException]").count() == 0

    def open(self, where: str) -> None:
        with self.waiting():
            self.tab.goto(where if where.startswith("http") else f"{self.address}/{where}")

    def choose(self, label: str, option: str) -> None:
        """Pick an option of the list that opens for what is typed."""
        with self.waiting():
            box = self.tab.get_by_role("combobox", name=label).first
            box.click()
            box.press_sequentially(option)
            self.tab.get_by_role("option").filter(has_text=option).first.click()
        self.tab.keyboard.press("Escape")

    def query(self) -> dict[str, list[str]]:
        """What the address asks for."""
        return parse_qs(urlsplit(self.tab.url).query)

    def go(self, page: str) -> None:
        """To another page, by the row of links above each."""
        with self.waiting():
            self.tab.locator(".st-key-navigation").get_by_role("link", name=page, exact=True).click()

    def follow(self, link: str) -> None:
        with self.waiting():
            self.tab.get_by_role("link", name=link).click()

    def back(self) -> None:
        with self.waiting():
            self.tab.go_back()

    def tick(self, *rows: int) -> None:
        """Click the boxes of rows of the first table."""
        table = self.tab.get_by_test_id("stDataFrame").first
        table.locator("canvas").first.wait_for()
        for row in rows:
            box = table.bounding_box()
            with self.waiting():
                self.tab.mouse.click(box["x"] + 16, box["y"] + 35 * (row + 1) + 17)

    def drawn(self) -> None:
        """Wait until what the page's parts load for themselves is there: tables, plots, code."""
        self.tab.locator("[data-testid=stSkeleton]").first.wait_for(state="detached")
        self.tab.wait_for_function("document.fonts.status == 'loaded'")
        self.tab.wait_for_timeout(500)  # and has moved whatever it moves

    def said(self) -> str:
        return " ".join(self.tab.get_by_test_id("stAlert").all_text_contents())

    def table(self) -> pd.DataFrame:
        """The page's first table, by its own download."""
        with self.tab.expect_download() as saved:
            self.tab.get_by_role("button", name="Table as CSV").first.click()
        return pd.read_csv(io.BytesIO(Path(saved.value.path()).read_bytes()))

    def legend(self) -> list[str]:
        """The names of the first plot's lines."""
        names = self.tab.locator(".js-plotly-plot").first.locator(".infolayer .legendtext")
        names.first.wait_for()
        return names.all_text_contents()
