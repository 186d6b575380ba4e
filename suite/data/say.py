"""What a user should know of the data although they load."""

from __future__ import annotations

from suite.progress import console


def say(text: str) -> None:
    """A line of warning on standard error."""
    console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)
