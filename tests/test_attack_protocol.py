"""The protocol `attack`: its records, what it makes of them, and how many passes it takes."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
from helpers.known import digits_spec
from helpers.networks import small_case
from helpers.planes import Planes, assert_same, records

from leaderboards.curves import attack_curve
from suite.protocols.attack import PROTOCOL

# the protocol


@pytest.mark.slow
@pytest.mark.parametrize("method", ["baseline", "randomized-smoothing"])
def test_records_do_not_depend_on_batch_size_order_or_company(method: str) -> None:
    model, spec, images, labels = small_case(method, torch.float64)
    whole = records("attack", model, spec, images, labels)
    assert whole["pgd"].notna().sum() >= 8
    for batch_size in (1, 7, 30):
        assert_same(records("attack", model, spec, images, labels, batch_size=batch_size), whole)
    some = records("attack", model, spec, images, labels, order=[7, 4, 2])
    assert_same(some, whole.iloc[[2, 4, 7]].reset_index(drop=True))


def test_misclassified_images_have_distance_0_and_are_left_out() -> None:
    model, spec, images, labels = small_case("baseline")
    found = records("attack", model, spec, images, labels)
    assert found.loc[4, ["correct", "pgd", "ddn", "best"]].tolist() == [0, 0.0, 0.0, 0.0]
    assert pd.isna(found.loc[4, "search"])
    assert (found["correct"] == 1).sum() == 8
    assert found["predict"].tolist() == model(images).argmax(dim=1).tolist()
    figures = PROTOCOL.metrics(spec, found)["attack"]
    assert (figures["attacked"], figures["misclassified"]) == (8, 1)
    assert figures["ddn"]["median"] == pytest.approx(found["ddn"].drop(4).median())
    assert "the single clean pass that this row deploys" in found.loc[0, "claim"]


def test_figures_and_curve_counted_by_hand() -> None:
    distances = {"pgd": [0.5, None, 1.0, 0.0, None], "ddn": [0.25, 0.5, 0.75, 0.0, 1.0]}
    found = pd.DataFrame({"correct": [1, 1, 1, 0, 1], **distances, "best": [0.25, 0.4, 0.75, 0.0, 0.5]})
    figures = PROTOCOL.metrics(digits_spec("baseline"), found)["attack"]
    assert figures == {
        "pgd": {"mean": 0.75, "median": None, "found": 2},
        "ddn": {"mean": 0.625, "median": 0.625, "found": 4},
        "best": {"mean": 0.475, "median": 0.45, "found": 4},
        "attacked": 4,
        "misclassified": 1,
    }
    curve = attack_curve(found, points=103).set_index("distance")
    assert curve.index[-1] == pytest.approx(1.02)
    assert curve.iloc[0].tolist() == [0, 0, 0]
    assert curve.loc[0.495:0.505].to_numpy().tolist() == [[0.75, 0.25, 0.5]]
    assert curve.iloc[-1].tolist() == [1.0, 0.5, 1.0]
    assert list(attack_curve(found.drop(columns="best"))) == ["distance", "pgd", "ddn"]
    nothing = PROTOCOL.metrics(digits_spec("baseline"), found[found["correct"] == 0])
    assert json.loads(json.dumps(nothing))["attack"]["ddn"] == {"mean": None, "median": None, "found": 0}
    assert attack_curve(found[found["correct"] == 0])["pgd"].isna().all()


def test_no_pass_is_made_that_is_not_needed() -> None:
    """One clean pass per image for both attacks; PGD until its first success; DDN's other looks. Then four halvings of
    two images, DDN's looks but its first, and FMN's."""
    model = Planes()
    given = {"attack.steps": 20, "attack.best_steps": 30, "attack.max_norm": 1.0, "attack.images": 2}
    spec = digits_spec("baseline", **given)
    records("attack", model, spec, model.between(0.05, 0.35, 0.55), [0, 0, 1])
    paper, best = 3 + (1 + 4) + 2 * 19, 2 * (29 + 30)
    assert model.gradients == paper + best - 2 * 3  # none at the end of DDN and FMN
    assert 0 <= model.passes - (paper + best + 2 * 4 * 10) <= 4  # at the boundary, near ties are asked again
    made = model.passes + 1.5 * model.gradients  # of two images that were attacked
    assert made < PROTOCOL.passes(spec, 2) < 1.5 * made
