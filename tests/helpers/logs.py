"""Published logs, and logs like them."""

from __future__ import annotations

from pathlib import Path

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"


def log(path: Path, *lines: str) -> Path:
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return path
