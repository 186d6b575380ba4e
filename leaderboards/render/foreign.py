"""Other people's text, made harmless at one place: names, claims, notes and citations may be anything."""

from __future__ import annotations

import re
import unicodedata

import pandas as pd

JOINER = "\u2060"  # no width: it keeps a link from forming by itself


def legible(text: object) -> str:
    """Text without the characters that nobody sees and that turn around or hide what stands beside them."""
    kept = (" " if letter.isspace() else letter for letter in str(text))
    return "".join(letter for letter in kept if unicodedata.category(letter) not in ("Cc", "Cf"))


def plain(text: object) -> str:
    """Text as it is, where Markdown is read: no links, no HTML, no mathematics, no colours.

    Markdown's own marks get a backslash. A parser that makes a link of any address does so once those are gone, so an
    address gets a letter without width, too.
    """
    shown = " ".join(legible(text).split())
    shown = re.sub(r"(?i)(https?:|ftp:|mailto:|xmpp:|www(?=\.)|(?=@))", rf"\1{JOINER}", shown)
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", shown)


def legible_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts are legible."""
    texts = [
        name for name in map(str, frame) if frame[name].dtype == object or pd.api.types.is_string_dtype(frame[name])
    ]
    return frame.assign(**{name: frame[name].map(lambda v: legible(v) if isinstance(v, str) else v) for name in texts})
