"""What the pages are called."""

from __future__ import annotations

PAGES = {
    "leaderboard": "Leaderboard",
    "compare": "Compare",
    "run": "Run",
    "paper": "Paper",
    "studies": "Studies",
    "submit": "Submit a row",
    "about": "About",
}


def page_title(page: str, board: str) -> str:
    """The title of a page, by its name in the URL ("" for the board), of a board."""
    title = PAGES.get(page or "leaderboard", "")
    return f"{board}: certified ℓ2 robustness" if title == PAGES["leaderboard"] else f"{title}, {board}"
