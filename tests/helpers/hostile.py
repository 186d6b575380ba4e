"""Texts that would do something if a page took them for markup."""

HOSTILE = (
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    r"$\frac{1}{2}$",
    "![a](b)",
    "a_b_ **c** `d` ~~e~~",
    "# x",
)
