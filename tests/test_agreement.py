"""Agreement of a single pass with votes, where both answers are known."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from helpers.known import Always, Step, digits_spec, examine, protocol, small_images, small_model, subject
from scipy import stats

from suite.errors import UserError
from suite.smoothing.noise import draws
from suite.spec.run_spec import RunSpec
from suite.statistics.bounds import predict
from suite.statistics.intervals import proportion_interval

AGAINST = digits_spec("randomized-smoothing").model.model_dump()


def summary(spec: RunSpec, found: pd.DataFrame) -> dict[str, object]:
    return protocol("agreement").metrics(spec, found)["agreement"]


def test_far_from_the_boundary_the_vote_is_the_pass_and_on_it_the_vote_abstains() -> None:
    model = Step()
    t = torch.tensor([2.0, -2.0, 1e-6, -1e-6])  # 8 σ away, and as good as on the plane
    found = examine("agreement", subject(model, digits_spec()), model.at(t), [0, 1, 0, 0])
    assert found["predict"].tolist() == [0, 1, 0, 1]
    assert found["vote"].tolist() == [0, 1, -1, -1]
    assert found["correct"].tolist() == [1, 1, 1, 0]
    row = summary(digits_spec(), found)
    assert (row["own"], row["abstained"]) == (0.5, 0.5)
    assert row["own_given_correct"]["share"] == pytest.approx(2 / 3)
    assert (row["own_given_correct"]["low"], row["own_given_correct"]["high"]) == proportion_interval(2, 3)
    assert row["stochastic_given_correct"] is None


def test_the_share_that_abstains_is_the_binomial_tests() -> None:
    """At a distance t the votes for the pass's class are binomial(n, Φ(t/σ))."""
    n, alpha, total, t = 50, 0.01, 600, 0.12
    model = Step()
    spec = digits_spec(**{"agreement.n": n, "agreement.alpha": alpha})
    found = examine("agreement", subject(model, spec), model.at(torch.full((total,), t)))
    p = stats.norm.cdf(t / 0.25)
    counts = range(n + 1)
    abstains = sum(stats.binom.pmf(c, n, p) for c in counts if stats.binomtest(c, n, 0.5).pvalue > alpha)
    assert 0.2 < abstains < 0.9
    assert abs((found["vote"] == -1).sum() - total * abstains) < 4 * (total * abstains * (1 - abstains)) ** 0.5


def test_the_other_model_votes_for_itself() -> None:
    model = Step()
    t = torch.tensor([2.0, 2.0, -2.0])
    spec = digits_spec("heat", **{"agreement.against": AGAINST})
    found = examine("agreement", subject(model, spec, other=Always(0.2, 0.8)), model.at(t), [0, 1, 1])
    assert found["stochastic"].tolist() == [1, 1, 1]
    assert found["vote"].tolist() == [0, 0, 1]
    row = summary(spec, found)
    assert row["stochastic"] == pytest.approx(1 / 3)
    assert row["stochastic_given_correct"]["share"] == 0.5
    assert row["own_given_correct"]["share"] == 1
    wrong = summary(spec, found.assign(correct=0))
    assert wrong["own_given_correct"] is None


def test_it_asks_for_the_model_that_the_spec_names() -> None:
    spec = digits_spec("heat")
    asked = []
    given = subject(small_model(), spec)
    object.__setattr__(given, "other", lambda wanted: asked.append(wanted) or small_model(1))
    examine("agreement", given, small_images(1))
    assert [(model.method, model.sigma) for model in asked] == [("randomized-smoothing", 0.25)]


def test_votes_are_those_of_the_model_on_the_keyed_noise() -> None:
    """Counted again by a plain loop, one draw at a time."""
    images, model = small_images(3), small_model()
    found = examine("agreement", subject(model, digits_spec(**{"agreement.n": 100})), images)
    for index, image in enumerate(images):
        noise = torch.cat(list(draws(0, "agreement", index, 100, like=image)))
        classes = [int(model(image[None] + 0.25 * draw[None]).argmax()) for draw in noise]
        assert found["vote"][index] == predict([classes.count(c) for c in range(10)], 0.001)


def test_it_makes_one_clean_pass_and_n_of_each_model() -> None:
    v, other = Always(0.7, 0.3), Always(0.6, 0.4)
    spec = digits_spec("heat", **{"agreement.against": AGAINST, "agreement.n": 30, "agreement.images": 5})
    examine("agreement", subject(v, spec, other=other, batch_size=64), small_images(5))
    assert (v.sizes, other.sizes) == ([5, 64, 64, 22], [64, 64, 22])
    assert sum(v.sizes) + sum(other.sizes) == protocol("agreement").passes(spec, 360)
    alone = spec.model_copy(update={"agreement": spec.agreement.model_copy(update={"against": None})})
    assert protocol("agreement").passes(alone, 360) == sum(v.sizes)


@pytest.mark.slow
def test_the_batch_size_and_the_company_change_no_record() -> None:
    spec = digits_spec("heat", **{"agreement.against": AGAINST})
    images = small_images()
    for size in (1, 7):
        given = (subject(small_model(), spec, other=small_model(1), batch_size=b) for b in (size, 256))
        one, other = (examine("agreement", subject, images) for subject in given)
        pd.testing.assert_frame_equal(one, other)
    given = subject(small_model(), spec, other=small_model(1))
    rest = list(protocol("agreement").records(given, [(i, images[i], 0) for i in (5, 2)]))
    assert rest == [other.to_dict("records")[i] for i in (5, 2)]


def test_too_few_votes_to_ever_answer_are_refused() -> None:
    with pytest.raises(UserError, match="the smallest n that works is 11"):
        RunSpec(method="heat", dataset="digits", **{"agreement.n": 10})
    assert predict([11, 0], 0.001) == 0
    assert predict([10, 0], 0.001) == -1
