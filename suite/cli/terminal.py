"""What is printed where a terminal, a pipe or a file does not take every character."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

PLAIN = {
    "σ": "sigma", "α": "alpha", "κ": "kappa", "δ": "delta", "ε": "epsilon", "η": "eta", "λ": "lambda", "ρ": "rho",
    "ℓ": "l", "≤": "<=", "≥": ">=", "±": "+-", "×": "x", "·": "*", "−": "-", "–": "-", "—": "-", "…": "...",
    "✓": "yes", "✗": "no", "→": "->", "“": '"', "”": '"', "’": "'",
}  # fmt: skip


def plain(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: what stands in ASCII for characters that an encoding does not have."""
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    words = (PLAIN.get(c) or unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode() for c in letters)
    return "".join(word or "?" for word in words), error.end


def print_anywhere() -> None:
    """Let standard output and error take any text, whatever their encoding."""
    codecs.register_error("suite.plain", plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            known = stream.encoding.lower().startswith("utf")
            stream.reconfigure(errors="backslashreplace" if known else "suite.plain")
