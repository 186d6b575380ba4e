"""The audit finds what is there, at the distance where it is, and nothing where a certificate is exact."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.cli import TINY
from helpers.known import digits_spec, records_file
from helpers.networks import Answers, Scaled, small_case
from helpers.planes import Planes, assert_same, records
from torch import Tensor, nn

from suite import UserError
from suite.attacks.certified import Certified
from suite.attacks.inside import candidates
from suite.attacks.target import distances, keyed_noise
from suite.pipeline import Machine, run
from suite.protocols.audit import PROTOCOL
from suite.protocols.audit_confirm import another_wins, by_vote, starts
from suite.protocols.protocol import Subject
from suite.smoothing.noise import draws
from suite.spec.run_spec import RunSpec
from suite.store.records import read_records

DISTANCES = [0.12, 0.2, 0.27, 0.35, 0.4]
OF_A_VOTE = [["pgd", "ddn", "fmn"], ["pgd"], ["ddn"], ["fmn"]]
SEARCHES = [
    *OF_A_VOTE,
    ["apgd-ce"],
    ["fab-t"],
    ["hopskipjump"],
    ["pgd", "ddn", "fmn", "apgd-ce", "apgd-t", "hopskipjump"],
]


def certified(radii: list[float], chosen: list[list[int]] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"idx": range(len(radii)), "radius": radii, "chosen": chosen or [[0]] * len(radii)})


def linear_case(method: str, factor: float, **settings: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Records and figures where each radius is `factor` times the distance to the plane: exact under noise as well."""
    model, spec = Planes(), digits_spec(method, sigma=0.05, **{"audit.steps": 30, "audit.queries": 400, **settings})
    radii = [factor * d for d in DISTANCES]
    found = records("audit", model, spec, model.between(*DISTANCES), [0, 0, 0, 0, 1], certify=certified(radii))
    return found, PROTOCOL.metrics(spec, found)["audit"]["certify"]


@pytest.mark.parametrize("method", ["baseline", "randomized-smoothing"])
def test_an_exact_certificate_is_not_violated(method: str) -> None:
    found, figures = linear_case(method, 0.999)
    assert found["violated"].tolist() == [0] * 5
    assert found["distance"].dropna().gt(0.999 * np.array(DISTANCES)[found["distance"].notna()]).all()
    assert (figures["attacked"], figures["violations"]) == (5, 0)
    assert figures["rate_upper"] == pytest.approx(1 - 0.05 ** (1 / 5))


@pytest.mark.parametrize("searches", SEARCHES, ids="-".join)
def test_too_large_a_radius_of_a_single_pass_is_found_out(searches: list[str]) -> None:
    found, figures = linear_case("baseline", 1.2, **{"audit.searches": searches, "audit.queries": 1_000})
    assert found["violated"].tolist() == [1] * 5
    assert set(found["search"]) <= set(searches)
    assert found["ratio"].between(1 / 1.2 - 1e-6, 1).all()
    exact = set(searches) & {"pgd", "ddn", "fmn"}  # the others look for more than the nearest image
    assert found["ratio"].to_numpy() == pytest.approx(1 / 1.2, rel=0.02 if exact else 0.15)
    assert figures["violations"] == 5
    assert figures["smallest_ratio"] == found["ratio"].min()
    assert figures["rate_upper"] == 1


@pytest.mark.parametrize("searches", OF_A_VOTE, ids="-".join)
def test_too_large_a_radius_of_a_vote_is_found_out_and_confirmed(searches: list[str]) -> None:
    found, _ = linear_case(
        "randomized-smoothing", 1.2, **{"audit.searches": searches, "audit.n": 2_000, "audit.steps": 60}
    )
    assert found["violated"].tolist() == [1] * 5
    # at a distance t beyond the plane class 1 has Φ(t/σ) of the votes: 2,000 confirm a share of 0.54
    assert found["ratio"].between(1 / 1.2, 0.99).all()
    assert found.loc[4, "ratio"] < (0.95 if searches == ["pgd"] else 0.9)
    assert "the vote that this row deploys, confirmed by Predict on 2000" in found.loc[0, "claim"]


def test_a_hit_that_the_vote_does_not_confirm_does_not_count() -> None:
    """With one draw for the search, images well inside the radius are adversarial to that draw, and to no vote."""
    settings = {"audit.draws": 1, "audit.searches": ["ddn"]}
    spec = digits_spec("randomized-smoothing", sigma=0.05, **{"audit.steps": 30, **settings})
    model = Planes()
    x = model.between(*DISTANCES)
    noise = keyed_noise(x, [0, 1, 2, 3, 4], 1, sigma=0.05, seed=spec.seed, purpose="audit")
    classes, numbers = torch.zeros(5, 1, dtype=torch.int64), [0, 1, 2, 3, 4]
    target = Certified(model, classes, noise, numbers, seed=spec.seed, whole=False, batch_size=1)
    radius = 0.999 * torch.tensor(DISTANCES, dtype=torch.float64)
    hits = candidates(target, x, radius, x[None], searches=["ddn"], steps=30, queries=100)["ddn"]
    inside = torch.tensor(distances(hits, x)) < 0.95 * radius
    assert inside.sum() >= 2
    found, _ = linear_case("randomized-smoothing", 0.999, **settings)
    assert found["violated"].tolist() == [0] * 5
    subject = Subject(model, spec, 256, torch.device("cpu"), None, None)  # type: ignore[arg-type]
    for row in inside.nonzero().flatten().tolist():
        finding = by_vote(subject, row, x[row], [0], {"ddn": hits[row]}, float(radius[row]))
        assert finding is None or finding[0] > radius[row]


class Rounded(Planes):
    """Large logits in steps: a gradient of 0, and a cross-entropy of 0."""

    def forward(self, x: Tensor) -> Tensor:
        return 1000 * (2 * super().forward(x)).round()


class Shattered(Planes):
    """Logits with a ripple that no answer depends on, and whose gradient is ten times theirs."""

    def forward(self, x: Tensor) -> Tensor:
        ripple = 2e-3 * (1e5 * x.double()).sin().sum(dim=(1, 2, 3))[:, None]
        return super().forward(x).double() + ripple * torch.tensor([1.0, -1.0])


@pytest.mark.slow
@pytest.mark.parametrize("masked", [Answers, Rounded, Shattered])
def test_a_model_that_masks_its_gradient_does_not_pass(masked: type[Planes]) -> None:
    """Radii are half too large. What follows the gradient alone hardly finds one; hop-skip-jump asks for answers."""
    model, radii = masked(), [1.5 * d for d in DISTANCES]
    found = {
        searches: records(
            "audit", model, digits_spec("baseline", **{"audit.searches": searches, "audit.queries": 1_000}),
            model.between(*DISTANCES), [0] * 5, certify=certified(radii),
        )
        for searches in [("apgd-ce",), ("hopskipjump",), ("apgd-ce", "hopskipjump"), default_searches()]
    }  # fmt: skip
    misled, asked, *others = found.values()
    assert misled["violated"].sum() <= 1 or masked is Rounded  # whose rounding has a gradient in an attack
    by_chance = misled["ratio"] > 0.95  # what a misled search breaks near the edge is broken, and searched no further
    for own in (asked, *others):
        assert own["violated"].tolist() == [1] * 5
        assert own["ratio"][~by_chance | (own is asked)].between(1 / 1.5, 0.95).all()


def default_searches() -> tuple[str, ...]:
    return digits_spec("baseline").audit.searches


@pytest.mark.slow
def test_what_an_audit_of_a_single_pass_finds_does_not_depend_on_a_scale_of_the_logits() -> None:
    model, _, images, labels = small_case("baseline")
    spec = digits_spec("baseline", **{"audit.steps": 10, "audit.queries": 200})
    table = certified([0.3, 0.2, 0.0, 0.4, 0.1], [[label] for label in model(images[:5]).argmax(dim=1).tolist()])
    whole, scaled = (
        records("audit", Scaled(model, factor), spec, images[:5], labels, certify=table) for factor in (1, 1000)
    )
    assert whole["distance"].notna().sum() == 4
    columns = ["distance", "violated", "lbound_distance"]
    pd.testing.assert_frame_equal(scaled[columns], whole[columns], rtol=1e-3)


def test_every_question_to_a_vote_has_noise_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []

    def watched(seed: int, purpose: str, image: int, n: int, like: Tensor) -> Iterator[Tensor]:
        keys.append((purpose, image))
        return draws(seed, purpose, image, n, like=like)

    monkeypatch.setattr("suite.protocols.audit_confirm.draws", watched)
    linear_case("randomized-smoothing", 1.2, **{"audit.restarts": 1})
    assert len(keys) >= 5 * 4
    assert len(set(keys)) == len(keys)


def test_what_is_not_certified_is_not_attacked() -> None:
    model, spec = Planes(), digits_spec("baseline")
    table = certified([0.0, 0.3])
    found = records("audit", model, spec, model.between(0.2, 0.2), [0, 0], certify=table)
    assert found["attacked"].tolist() == [0, 1]
    assert found["violated"].tolist() == [0, 1]
    assert pd.isna(found.loc[0, "distance"])
    nothing = PROTOCOL.metrics(spec, found[found["attacked"] == 0])["audit"]["certify"]
    assert nothing == {"attacked": 0, "violations": 0, "smallest_ratio": None, "rate_upper": None}
    json.dumps(nothing)


def test_the_l_bound_of_a_single_pass_is_audited_beside_the_certificate() -> None:
    model, spec = Planes(), digits_spec("baseline")
    x, bound = model.between(0.2, 0.2, 0.2), pd.DataFrame({"idx": [0, 1], "radius": [0.24, 0.1], "predict": [0, 0]})
    found = records("audit", model, spec, x, [0] * 3, certify=certified([0.1, 0.24, 0.0]), lbound=bound)
    assert found["violated"].tolist() == [0, 1, 0]
    assert found["lbound_violated"].tolist() == [1, 0, 0]
    assert found.loc[0, "lbound_ratio"] == pytest.approx(0.2 / 0.24, rel=0.03)
    assert found.loc[0, "ratio"] == pytest.approx(2, rel=0.03)
    figures = PROTOCOL.metrics(spec, found)["audit"]
    assert (figures["lbound"]["attacked"], figures["lbound"]["violations"]) == (2, 1)
    stochastic = records(
        "audit", model, digits_spec("randomized-smoothing"), x, [0] * 3, certify=certified([0.1] * 3), lbound=bound
    )
    assert stochastic["lbound_radius"].isna().all()


def test_the_probit_form_of_the_l_bound_is_audited_with_it() -> None:
    model, spec = Planes(), digits_spec("baseline")
    bound = pd.DataFrame({"idx": [0, 1], "radius": [0.15, 0.24], "probit_radius": [0.23, 0.26]})
    found = records("audit", model, spec, model.between(0.2, 0.2), [0] * 2, certify=certified([0.0] * 2), lbound=bound)
    assert (found["lbound_violated"].tolist(), found["probit_violated"].tolist()) == ([0, 1], [1, 1])
    assert found["probit_ratio"].to_numpy() == pytest.approx([0.2 / 0.23, 0.2 / 0.26], rel=0.03)
    figures = PROTOCOL.metrics(spec, found)["audit"]
    assert (figures["lbound"]["violations"], figures["probit"]["violations"]) == (1, 2)
    earlier = PROTOCOL.metrics(spec, found.drop(columns="probit_radius"))["audit"]
    assert set(earlier) == {"certify", "lbound"}


@pytest.mark.slow
def test_under_the_top_k_rule_the_certificate_is_of_a_set_and_the_l_bound_of_the_order() -> None:
    """With logits 0.3, 0.2 and 0, class 2 takes its place among the two leaders before it leads."""
    model = Planes(classes=3)
    joins, leads = 0.2 / 2**0.5, float(np.linalg.norm(np.array([0.3, 0.2, 0.0]) - 0.5 / 3))
    spec = digits_spec("baseline", top=2, **{"audit.steps": 100, "audit.queries": 100})
    x = torch.stack([model.at(0.3, 0.2, 0.0)] * 2)
    table = certified([0.99 * leads, 1.1 * leads], [[0, 1]] * 2)
    bound = pd.DataFrame({"idx": [0, 1], "radius": [0.99 * joins, 1.1 * joins]})
    found = records("audit", model, spec, x, [0, 0], certify=table, lbound=bound)
    assert found["violated"].tolist() == found["lbound_violated"].tolist() == [0, 1]
    assert found["distance"].to_numpy() == pytest.approx(leads, rel=0.03)
    assert found["lbound_distance"].to_numpy() == pytest.approx(joins, rel=0.03)
    fewer = certified([1.3 * leads, 1.3 * leads], [[0], [0, 1]])  # n₀ votes that all went to one class
    voted = digits_spec("randomized-smoothing", sigma=0.05, top=2)
    assert records("audit", model, voted, x, [0, 0], certify=fewer)["violated"].tolist() == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["baseline", "randomized-smoothing"])
def test_records_do_not_depend_on_batch_size_order_or_company(method: str) -> None:
    model, _, images, labels = small_case(method, torch.float64)
    spec = digits_spec(method, **{"audit.draws": 4, "audit.steps": 8, "audit.n": 200, "audit.queries": 200})
    table = certified([0.3, 0.2, 0.0, 0.4, 0.1], [[label] for label in model(images[:5]).argmax(dim=1).tolist()])
    whole = records("audit", model, spec, images[:5], labels, certify=table)
    assert whole["distance"].notna().any()
    for batch_size in (1, 9):
        assert_same(records("audit", model, spec, images[:5], labels, certify=table, batch_size=batch_size), whole)
    some = records("audit", model, spec, images[:5], labels, certify=table, order=[3, 1])
    assert_same(some, whole.iloc[[1, 3]].reset_index(drop=True))


def test_pgd_starts_again_all_over_the_sphere() -> None:
    spec = digits_spec("baseline", **{"audit.restarts": 4})
    subject = Subject(Planes(), spec, 256, torch.device("cpu"), None, None)  # type: ignore[arg-type]
    x = torch.full((2, 3, 16, 16), 0.5)
    found = starts(subject, [7, 8], x, torch.tensor([0.1, 0.3], dtype=torch.float64))
    delta = (found - x).flatten(2)
    assert delta.norm(dim=2).numpy() == pytest.approx(np.array([[0.1, 0.3]] * 4), rel=1e-5)
    directions = torch.nn.functional.normalize(delta, dim=2).flatten(0, 1)
    assert (directions @ directions.T - torch.eye(8)).abs().max() < 0.2  # 768 dimensions: 5.5 standard deviations
    alone: Tensor = starts(subject, [8], x[1:], torch.tensor([0.3], dtype=torch.float64))
    assert torch.equal(alone[:, 0], found[:, 1])


def test_the_vote_of_rounded_images_is_what_confirms_a_hit_of_discrete_noise() -> None:
    """A network that tells whole levels from others: under discrete noise it sees whole levels alone."""

    class Levels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            off = ((255 * x - (255 * x).round()).abs().flatten(1).amax(1) > 1e-3).float()
            return torch.stack([1 - off, off], dim=1)

    image = torch.full((1, 8, 8), 100.4 / 255)
    for noise, wins in (("gaussian", True), ("discrete", False)):
        spec = digits_spec("smoothadv", **{"certify.noise": noise, "audit.n": 50})
        subject = Subject(Levels(), spec, 16, torch.device("cpu"), lambda _: pd.DataFrame(), lambda _: Levels())
        assert another_wins(subject, 0, image, [0], "confirm") is wins


def test_what_cannot_be_done_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = Planes(), Planes().between(0.2)
    with pytest.raises(UserError, match=r"audit\.n = 10 votes .* the smallest that works is 11"):
        records("audit", model, digits_spec("smoothadv", **{"audit.n": 10}), x, [0], certify=certified([0.1]))
    vote = digits_spec("smoothadv", **{"audit.searches": ["apgd-ce"]})
    with pytest.raises(UserError, match="this row deploys a vote: add one of pgd, ddn, fmn"):
        records("audit", model, vote, x, [0], certify=certified([0.1]))
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(UserError, match=r"apgd-t needs pyautoattack: pip install 'l2-robustness-suite\[audit\]'"):
        records("audit", model, digits_spec("baseline"), x, [0], certify=certified([0.1]))
    without = digits_spec("baseline", **{"audit.searches": ["pgd", "ddn"]})
    assert len(records("audit", model, without, x, [0], certify=certified([0.1]))) == 1


def tiny() -> RunSpec:
    few = {
        "images": 12,
        "attack.images": 12,
        "attack.best_steps": 3,
        "audit.images": 12,
        "audit.steps": 5,
        "audit.queries": 200,
        "start.training.epochs": 0.5,
    }
    return RunSpec(**TINY | few, protocols="attack,audit")


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_records_and_figures(tmp_path: Path) -> None:
    whole = run(tiny(), Machine(runs=tmp_path / "whole", track=False)).path
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    again = tmp_path / "again" / whole.name
    for name in ("attack", "audit"):
        lines = records_file(whole, name).read_text().splitlines(keepends=True)
        assert len(lines) == 12
        records_file(again, name).write_text("".join(lines[:4]) + lines[5][:20])
    run(tiny(), Machine(runs=tmp_path / "again", track=False))
    for name in ("attack", "audit"):
        pd.testing.assert_frame_equal(
            read_records(records_file(again, name)), read_records(records_file(whole, name)), check_exact=True
        )
    rows = [json.loads((folder / "result.json").read_text()) for folder in (whole, again)]
    for name in ("attack", "audit"):
        assert_same(pd.json_normalize(rows[1][name]), pd.json_normalize(rows[0][name]))
    assert set(rows[0]["protocols"]) == {"certify", "lbound", "attack", "audit"}


@pytest.mark.parametrize(("written", "meant"), [("pgd", ("pgd",)), ("pgd,fab-t", ("pgd", "fab-t"))])
def test_searches_may_be_written_with_commas(written: str, meant: tuple[str, ...]) -> None:
    spec = RunSpec(method="baseline", dataset="digits", **{"audit.searches": written})
    assert spec.audit.searches == meant
