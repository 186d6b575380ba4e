"""Timing, on models that take a known time or count what they are given."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from helpers.known import Always, digits_spec, examine, protocol, small_images, subject
from torch import Tensor

CERTIFICATES = pd.DataFrame({"time": [0.5, 1.5]})
SETTINGS = {"timing.batch": 8, "timing.repeats": 5, "n0": 6}


class Lasts(Always):
    """Moves a clock on by 0.02 seconds a call."""

    now = 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.now += 0.02
        return super().forward(x)


def test_a_known_time_per_call_is_what_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Lasts(0.7, 0.3)
    monkeypatch.setattr("suite.protocols.timing.time.perf_counter", lambda: model.now)
    spec = digits_spec(**SETTINGS)
    found = examine("timing", subject(model, spec, certify=CERTIFICATES), small_images(4))
    # a vote for one image is one call of 6 draws, for 8 images 6 calls of 8
    expected = [0.02, 0.02 / 8, 0.02, 6 * 0.02 / 8]
    for seconds, low, high, least in zip(found["seconds"], found["low"], found["high"], expected, strict=True):
        assert (seconds, low, high) == pytest.approx((least, least, least))
    row = protocol("timing").metrics(spec, found)["timing"]
    assert row["pass"] == {"1": found["seconds"][0], "full": found["seconds"][1]}
    assert row["vote"] == {"1": found["seconds"][2], "full": found["seconds"][3]}
    assert row["ratio"]["1"] == pytest.approx(1)
    assert row["ratio"]["full"] == pytest.approx(6)
    assert row["certificate"] == 1.0
    assert row["deployed"] == row["pass"]["full"]
    assert (row["batch"], row["threads"]) == (8, torch.get_num_threads())
    voted = protocol("timing").metrics(digits_spec("randomized-smoothing", **SETTINGS), found)["timing"]
    assert voted["deployed"] == row["vote"]["full"]


def test_the_passes_are_those_announced_and_no_more() -> None:
    spec = digits_spec(**SETTINGS)
    seen = []
    for index in range(4):
        model = Always(0.7, 0.3)
        given = subject(model, spec, certify=CERTIFICATES)
        list(protocol("timing").records(given, [(index, small_images(1)[0], 0)]))
        seen.append(model.sizes)
    # the first call of each is not timed; three full votes are 18 calls, more than the 5 asked for
    assert seen == [[1] * 6, [8] * 6, [6] * 6, [8] + 3 * [8] * 6]
    assert sum(map(sum, seen)) == protocol("timing").passes(spec, 360)


def test_one_image_votes_in_calls_of_at_most_a_full_batch() -> None:
    spec = digits_spec(**{**SETTINGS, "n0": 20})
    model = Always(0.7, 0.3)
    list(protocol("timing").records(subject(model, spec, certify=CERTIFICATES), [(2, small_images(1)[0], 0)]))
    assert model.sizes == [8] + 3 * [8, 8, 4]
