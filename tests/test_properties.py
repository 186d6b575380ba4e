"""What holds of statistics and parsers for any input: Hypothesis draws it, always the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from leaderboards.published.log import HEADER, read_log
from suite.boards.board import load_board
from suite.cli.options import parse_setting
from suite.errors import UserError
from suite.spec.run_spec import make_spec
from suite.statistics.bounds import (
    certified_radius,
    largest_radius,
    lower_confidence_bound,
    smallest_count,
    smallest_n,
    upper_confidence_bound,
)
from suite.statistics.intervals import paired_interval, proportion_interval
from suite.tuning.space import build_distribution, parse_search

some = settings(max_examples=60, deadline=None, derandomize=True, database=None)
few = settings(some, max_examples=20)

ALPHA = st.floats(1e-6, 0.5)
SIGMA = st.floats(0.05, 2)
COUNTS = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
NAME = st.text("abcdefghijklmnopqrstuvwxyz_.", min_size=1, max_size=12)


@some
@given(COUNTS, ALPHA)
def test_clopper_pearson_is_statsmodels_and_turns_the_binomials_tail_into_alpha(counts: tuple[int, int], alpha: float):
    count, n = counts
    low, high = float(lower_confidence_bound(count, n, alpha)), float(upper_confidence_bound(count, n, alpha))
    theirs = proportion_confint(count, n, alpha=2 * alpha, method="beta")
    assert (low, high) == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    assert 0 <= low <= count / n <= high <= 1
    if count:
        assert stats.binom.sf(count - 1, n, low) == pytest.approx(alpha, rel=1e-6)
    if count < n:
        assert low < lower_confidence_bound(count + 1, n, alpha)
        assert low >= lower_confidence_bound(count, n + 1, alpha)  # the same successes in more trials
    assert low <= lower_confidence_bound(count, n, min(2 * alpha, 0.6))


@some
@given(COUNTS, ALPHA, SIGMA)
def test_the_smallest_count_is_the_first_that_certifies_a_radius(
    counts: tuple[int, int], alpha: float, sigma: float
) -> None:
    count, n = counts
    radius = float(certified_radius(count, n, alpha, sigma))
    assert 0 <= radius <= largest_radius(n, alpha, sigma)
    assert (largest_radius(n, alpha, sigma) > 0) == (n >= smallest_n(alpha))
    if radius > 1e-6:  # below, ½ itself is within the rounding of Φ
        assert smallest_count(radius * (1 - 1e-9), n, alpha, sigma) == count
        assert smallest_count(radius * (1 + 1e-9), n, alpha, sigma) == count + 1
    wanted = int(smallest_count(1.5 * sigma, n, alpha, sigma))
    assert wanted > n or certified_radius(wanted, n, alpha, sigma) >= 1.5 * sigma * (1 - 1e-9)
    assert certified_radius(min(wanted - 1, n), n, alpha, sigma) < 1.5 * sigma


@some
@given(COUNTS, st.floats(0.5, 0.999))
def test_wilsons_interval_has_the_share_within_and_stays_within_0_and_1(counts: tuple[int, int], level: float) -> None:
    count, n = counts
    low, high = proportion_interval(count, n, level)
    assert 0 <= low <= count / n <= high <= 1
    assert (low, high) == pytest.approx(proportion_confint(count, n, alpha=1 - level, method="wilson"), abs=1e-12)
    assert proportion_interval(n - count, n, level) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    wider = proportion_interval(count, n, (1 + level) / 2)
    assert wider[0] <= low
    assert wider[1] >= high


@some
@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 5_000), st.floats(0.5, 0.999))
def test_the_paired_interval_changes_sign_with_its_sides(only_a: int, only_b: int, other: int, level: float) -> None:
    total = only_a + only_b + other + 1
    low, high = paired_interval(only_a, only_b, total, level)
    assert paired_interval(only_b, only_a, total, level) == pytest.approx((-high, -low), abs=1e-12)
    assert -1 <= low < high <= 1
    assert low <= (only_a - only_b) / (total + 2) <= high
    assert only_a != only_b or low == -high


@some
@given(NAME, st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False), st.lists))
def test_a_setting_given_as_json_is_that_value(name: str, value: Any) -> None:
    assert parse_setting(f"{name}={json.dumps(value)}") == (name, value)


@some
@given(NAME, st.lists(st.integers() | st.booleans(), min_size=2), st.text("xyz -=", min_size=1))
def test_a_setting_may_be_a_list_without_brackets_or_plain_text(name: str, values: list[Any], text: str) -> None:
    assert parse_setting(f"{name}={','.join(map(json.dumps, values))}") == (name, values)
    assert parse_setting(f"{name}=w{text}") == (name, f"w{text}")
    with pytest.raises(UserError, match="KEY=VALUE"):
        parse_setting(name)


RANGE = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).filter(lambda ends: ends[0] < ends[1])


@some
@given(RANGE, st.booleans(), st.integers(2, 20))
def test_a_range_has_both_ends_and_the_points_that_it_asks_for(
    ends: tuple[float, float], log: bool, points: int
) -> None:
    low, high = (math.exp(end / 1e5) for end in ends) if log else ends
    if not low < high:
        return
    text = f"{low!r}:{high!r}" + (":log" if log else "")
    assert build_distribution("x", text, whole=False) == FloatDistribution(low, high, log=log)
    spaced = build_distribution("x", f"{text}:{points}", whole=False)
    assert isinstance(spaced, CategoricalDistribution)
    assert len(spaced.choices) == points
    assert (spaced.choices[0], spaced.choices[-1]) == pytest.approx((low, high), rel=1e-9)
    steps = np.diff(np.log(spaced.choices) if log else np.array(spaced.choices, float))
    assert steps == pytest.approx([steps.mean()] * (points - 1), rel=1e-3, abs=1e-9 * abs(high))
    with pytest.raises(UserError, match="reversed"):
        build_distribution("x", f"{high!r}:{low!r}", whole=False)


@some
@given(st.dictionaries(NAME, st.tuples(st.integers(-999, 999), st.integers(1, 999)), min_size=1))
def test_a_search_is_read_as_it_is_written_however_it_is_spread_over_options(
    wanted: dict[str, tuple[int, int]],
) -> None:
    texts = {name: f"{low}:{low + width}" for name, (low, width) in wanted.items()}
    written = [f"{name}={text}" for name, text in texts.items()]
    assert parse_search(written, {}) == parse_search([" ".join(written)], {}) == texts
    assert parse_search(list(texts), texts) == texts  # bare names, for which the method has a range
    for name, (low, width) in wanted.items():
        assert build_distribution(name, texts[name], whole=True) == IntDistribution(low, low + width)
    with pytest.raises(UserError, match="twice"):
        parse_search([*written, written[0]], {})


LINE = st.tuples(st.integers(0, 9), st.integers(-1, 9), st.floats(0, 3).map(lambda r: round(r, 4)), st.floats(0, 99))


@few
@given(st.dictionaries(st.integers(0, 499), LINE, min_size=1, max_size=30), st.booleans())
def test_a_published_log_reads_as_it_was_written(lines: dict[int, tuple[int, int, float, float]], torn: bool) -> None:
    board = load_board("digits")
    written = [
        (idx, label, predict, radius if predict >= 0 else 0.0, int(label == predict), seconds)
        for idx, (label, predict, radius, seconds) in sorted(lines.items())
    ]
    text = "\n".join("\t".join(map(str, line)) for line in [HEADER, *written])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.tsv"
        path.write_text(f"{text}\n499" if torn else f"{text}\n")
        log = read_log(path, board)
    found = log.records.assign(radius=log.records["radius"].astype(float))
    assert [tuple(row) for row in found[list(HEADER)].itertuples(index=False)] == written
    assert ("unfinished last line" in log.note) == torn


FIELDS = {
    "training": {"epochs": st.floats(0.1, 50), "lr": st.floats(1e-4, 1), "batch_size": st.integers(2, 512)},
    "parameters": {"kappa": st.integers(1, 20), "timesteps": st.integers(1, 9)},
    "certify": {"n": st.integers(100, 10_000), "images": st.integers(1, 100)},
}


@few
@given(st.fixed_dictionaries({section: st.fixed_dictionaries({}, optional=own) for section, own in FIELDS.items()}))
def test_flat_dotted_and_nested_names_make_one_spec(nested: dict[str, dict[str, Any]]) -> None:
    base = {"method": "heat", "dataset": "digits", "profile": "demo"}
    flat = {name: value for section in nested.values() for name, value in section.items()}
    dotted = {f"{section}.{name}": value for section, own in nested.items() for name, value in own.items()}
    spec = make_spec(**base, **nested)
    assert spec == make_spec(**base, **flat) == make_spec(**base, **dotted)
    assert spec.digest == make_spec(**base, **dict(reversed(dotted.items()))).digest
    for section, own in nested.items():
        found = getattr(spec, section)
        for name, value in own.items():
            assert (found[name] if isinstance(found, dict) else getattr(found, name)) == value
