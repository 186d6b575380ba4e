"""A process in which Triton's kernels are interpreted on the CPU, as Triton decides when it is imported."""

from __future__ import annotations

import os
from multiprocessing import get_context
from multiprocessing.pool import Pool


def interpreter() -> Pool:
    before = dict(os.environ)
    os.environ["TRITON_INTERPRET"] = "1"
    try:
        return get_context("spawn").Pool(1)
    finally:
        os.environ.clear()
        os.environ.update(before)


def carry_out(code: str) -> None:
    """Run a program, which may set sizes of the loop for itself."""
    from suite.smoothing import noise, on_device

    before = noise.BLOCK, on_device.POOL
    try:
        exec(code, {"__name__": "interpreted"})
    finally:
        noise.BLOCK, on_device.POOL = before
