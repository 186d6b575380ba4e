"""What holds for every input: of bounds, of intervals, and of what the command line takes apart."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from helpers.intervals import paired_interval
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from statsmodels.stats.proportion import proportion_confint

from leaderboards.published.layout import HEADER
from leaderboards.published.log import read_log
from suite.boards.board import load_board
from suite.cli.options import parse_setting
from suite.errors import UserError
from suite.spec.run_spec import RunSpec
from suite.statistics.bounds import (
    certified_radius,
    lower_confidence_bound,
    smallest_count,
    upper_confidence_bound,
)
from suite.statistics.intervals import proportion_interval
from suite.tuning.space import build_distribution, parse_search

settings.register_profile("suite", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("suite")

ALPHAS = st.floats(1e-6, 0.4)
LEVELS = st.floats(0.5, 0.9999)
NAMES = st.text("abcxyz_.", min_size=1, max_size=10)
TEXTS = st.text("aß√0123.e-'\"\\,=:{}[] \n\t", max_size=20)
NUMBERS = st.floats(-1e6, 1e6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def counts(draw: st.DrawFn, most: int = 20_000) -> tuple[int, int]:
    """A count of n."""
    n = draw(st.integers(1, most))
    return draw(st.integers(0, n)), n


# Statistics


@pytest.mark.slow
@given(counts(), ALPHAS)
def test_clopper_pearson_is_that_of_statsmodels(case: tuple[int, int], alpha: float) -> None:
    count, n = case
    low, high = proportion_confint(count, n, alpha=2 * alpha, method="beta")
    assert lower_confidence_bound(count, n, alpha) == pytest.approx(low, abs=1e-10)
    assert upper_confidence_bound(count, n, alpha) == pytest.approx(high, abs=1e-10)


@given(st.integers(1, 500), ALPHAS, st.floats(1.01, 2))
def test_clopper_pearson_grows_with_the_count_and_with_alpha(n: int, alpha: float, factor: float) -> None:
    count = np.arange(n + 1)
    low, high = lower_confidence_bound(count, n, alpha), upper_confidence_bound(count, n, alpha)
    for bound in (low, high):
        assert (np.diff(bound) > 0).all()
        assert ((bound >= 0) & (bound <= 1)).all()
    assert (low < count / n + (count == 0)).all()
    assert (high > count / n - (count == n)).all()
    assert (lower_confidence_bound(count, n, alpha * factor)[1:] > low[1:]).all()
    assert (lower_confidence_bound(count, n + 1, alpha)[1:] < low[1:]).all()


@given(st.integers(1, 20_000), ALPHAS, st.floats(0.05, 2), st.floats(1e-3, 4))
def test_the_smallest_count_certifies_a_radius_and_one_vote_less_does_not(
    n: int, alpha: float, sigma: float, deviations: float
) -> None:
    radius = deviations * sigma
    count = int(smallest_count(radius, n, alpha, sigma))
    assert count >= 1
    if count <= n:
        assert certified_radius(count, n, alpha, sigma) >= radius * (1 - 1e-9)
    if count > 1:
        assert certified_radius(min(count - 1, n), n, alpha, sigma) < radius


@given(counts(), ALPHAS, st.floats(0.05, 2))
def test_the_smallest_count_for_the_radius_of_a_count_is_that_count(
    case: tuple[int, int], alpha: float, sigma: float
) -> None:
    count, n = case
    radius = float(certified_radius(count, n, alpha, sigma))
    assume(radius > 1e-3 * sigma)
    assert smallest_count(radius * (1 - 1e-6), n, alpha, sigma) == count
    assert smallest_count(radius * (1 + 1e-6), n, alpha, sigma) == count + 1


@given(counts(10**6), LEVELS)
@example((1, 10**6), 0.9999)
def test_wilsons_interval_is_one_of_shares_and_contains_the_share(case: tuple[int, int], level: float) -> None:
    count, n = case
    low, high = proportion_interval(count, n, level)
    assert 0 <= low <= count / n <= high <= 1
    mirrored = proportion_interval(n - count, n, level)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 5_000), LEVELS)
def test_the_paired_interval_of_b_and_a_is_that_of_a_and_b_mirrored(a: int, b: int, rest: int, level: float) -> None:
    total = a + b + rest + 1
    low, high = paired_interval(a, b, total, level)
    assert -1 <= low < high <= 1
    other = paired_interval(b, a, total, level)
    assert (-other[1], -other[0]) == pytest.approx((low, high), abs=1e-15)
    assert low < (a - b) / (total + 2) < high
    wider = paired_interval(a, b, total, (1 + level) / 2)
    assert wider[0] <= low
    assert wider[1] >= high


# Settings


@given(NAMES, VALUES)
def test_a_setting_of_json_is_what_json_says(name: str, value: Any) -> None:
    assert parse_setting(f"{name}={json.dumps(value)}") == (name, value)


@given(NAMES, st.lists(st.integers() | st.booleans() | NUMBERS, min_size=2, max_size=5))
def test_values_with_commas_between_them_are_a_list(name: str, values: list[Any]) -> None:
    assert parse_setting(f"{name}={','.join(map(json.dumps, values))}") == (name, values)


@given(TEXTS)
def test_any_other_text_is_a_setting_of_text_or_refused_in_a_line(text: str) -> None:
    name, equals, value = text.partition("=")
    if not name or not equals:
        with pytest.raises(UserError, match="--set takes KEY=VALUE"):
            parse_setting(text)
        return
    found = parse_setting(text)
    assert found[0] == name
    assert found[1] == value or json.dumps(found[1])


@settings(max_examples=20)
@given(st.integers(1, 50), st.integers(10, 200), st.floats(1e-4, 10), st.integers(0, 5))
def test_a_flat_a_dotted_and_a_nested_setting_are_one(kappa: int, n: int, lr: float, seed: int) -> None:
    common: dict[str, Any] = {"method": "heat", "dataset": "digits", "profile": "demo", "seed": seed}
    flat = RunSpec(**common, kappa=kappa, n=n, lr=lr, **{"start.lr": lr})
    dotted = RunSpec(
        **common,
        **{"parameters.kappa": kappa, "certify.n": n, "training.lr": lr, "start.training.lr": lr},
    )
    nested = RunSpec(
        **common,
        parameters={"kappa": kappa}, certify={"n": n}, training={"lr": lr}, start={"training": {"lr": lr}},
    )  # fmt: skip
    assert flat == dotted == nested
    assert flat.digest == dotted.digest == nested.digest
    assert (flat.parameters["kappa"], flat.certify.n, flat.training.lr) == (kappa, n, lr)
    assert flat.start
    assert flat.start.training.lr == lr


# The notation of a search


@given(NUMBERS, NUMBERS, st.booleans())
def test_a_range_has_its_ends_or_is_refused(low: float, high: float, log: bool) -> None:
    text = f"{low!r}:{high!r}" + ":log" * log
    if low < high and (low > 0 or not log):
        assert build_distribution("lr", text, whole=False) == FloatDistribution(low, high, log=log)
    else:
        with pytest.raises(UserError, match=r"--search lr="):
            build_distribution("lr", text, whole=False)


@given(st.floats(1e-6, 1e3), st.floats(1.01, 100), st.booleans(), st.integers(2, 12))
def test_points_are_evenly_spaced_between_the_ends(low: float, factor: float, log: bool, points: int) -> None:
    high = low * factor
    found = build_distribution("lr", f"{low!r}:{high!r}" + ":log" * log + f":{points}", whole=False)
    assert isinstance(found, CategoricalDistribution)
    values = [float(value) for value in found.choices]  # type: ignore[arg-type]
    assert len(values) == points
    assert (values[0], values[-1]) == pytest.approx((low, high), rel=1e-11)
    steps = np.diff(np.log(values) if log else values)
    assert steps == pytest.approx([steps.mean()] * len(steps), rel=1e-6)


@given(st.integers(-1_000, 1_000), st.integers(1, 1_000), st.integers(2, 9))
def test_ranges_of_whole_numbers_have_whole_numbers_only(low: int, length: int, points: int) -> None:
    assert build_distribution("k", f"{low}:{low + length}", whole=True) == IntDistribution(low, low + length)
    found = build_distribution("k", f"{low}:{low + length}:{points}", whole=True)
    assert isinstance(found, CategoricalDistribution)
    assert all(isinstance(value, int) and low <= value <= low + length for value in found.choices)
    assert len(set(found.choices)) == len(found.choices) <= points
    with pytest.raises(UserError, match="a whole number"):
        build_distribution("k", f"{low}.5:{low + length + 1}.5", whole=True)


@given(st.text("0123456789.:-einfalog,", max_size=8), st.booleans())
def test_any_text_is_a_distribution_or_refused_in_a_line(text: str, whole: bool) -> None:
    with contextlib.suppress(UserError):
        found = build_distribution("lr", text, whole=whole)
        assert isinstance(found, CategoricalDistribution) or (math.isfinite(found.low) and found.low < found.high)


@given(st.dictionaries(NAMES, st.text("0123456789.:,", min_size=1), min_size=1), st.integers(1, 4))
def test_a_search_is_the_same_in_one_text_and_in_several(search: dict[str, str], parts: int) -> None:
    words = [f"{name}={given}" for name, given in search.items()]
    texts = [" ".join(words[part::parts]) for part in range(parts)]
    assert parse_search(texts, {"other": "0:1"}) == search
    assert parse_search([" ".join(words)], {"other": "0:1"}) == search
    with pytest.raises(UserError, match="twice"):
        parse_search([*words, words[0]], {})


# Published logs

LINES = st.tuples(st.integers(0, 9), st.integers(-1, 9), st.integers(0, 30_000), st.integers(0, 99))


@settings(max_examples=20)
@given(st.dictionaries(st.integers(0, 499), LINES, min_size=1, max_size=20), st.booleans())
def test_a_published_log_is_read_as_it_was_written(lines: dict[int, tuple[int, int, int, int]], torn: bool) -> None:
    written = [
        (idx, label, predict, radius / 10_000 if predict >= 0 else 0.0, int(label == predict), seconds)
        for idx, (label, predict, radius, seconds) in sorted(lines.items())
    ]
    text = "\n".join("\t".join(map(str, line)) for line in (HEADER, *written))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.tsv"
        path.write_text(f"{text}\n499" if torn else f"{text}\n")
        log = read_log(path, load_board("digits"))
    found = log.records.assign(radius=log.records["radius"].astype(float))
    assert list(found[list(HEADER)].itertuples(index=False, name=None)) == written
    assert ("unfinished last line" in log.note) == torn
