"""Any network from Python: a full row, attacks, audits, the vote's answers; mistakes said in a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

import suite
from suite import RunSpec, UserError, attack, audit, evaluate, load_model, predict
from suite.data import load
from suite.spec.run_spec import PROTOCOLS


class Halves(nn.Module):
    """Class 1 where the mean pixel is above the threshold: the distance to the boundary is known in closed form."""

    def __init__(self, threshold: float = 0.5):
        super().__init__()
        self.register_buffer("threshold", torch.tensor(threshold))
        self.slope = 1.0

    def forward(self, x: Tensor) -> Tensor:
        above = self.slope * (x.flatten(1).mean(dim=1) - self.get_buffer("threshold"))
        return torch.stack([-above, above], dim=1)


class Means(nn.Module):
    """Logits: minus the squared distance from the mean image of each class of the digits."""

    def __init__(self) -> None:
        super().__init__()
        digits = load("digits")
        images, labels = digits.train[torch.arange(len(digits.train))] / 255, digits.train.labels
        means = torch.stack([images[labels == c].mean(dim=0) for c in range(10)]).flatten(1)
        self.register_buffer("means", means)

    def forward(self, x: Tensor) -> Tensor:
        return -torch.cdist(x.flatten(1), self.get_buffer("means")).square()


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> suite.store.folder.RunFolder:  # type: ignore[name-defined]
    few = {"attack.images": 5, "attack.draws": 4, "audit.images": 5, "audit.queries": 200, "audit.steps": 5}
    few |= {"lbound.images": 5, "agreement.images": 5}
    runs = tmp_path_factory.mktemp("runs")
    return evaluate(
        Means(), "digits", sigma=0.25, name="means", protocols="all", runs=runs, track=False, n=100, images=6, **few
    )


def test_a_network_gets_a_full_row(row: suite.store.folder.RunFolder) -> None:  # type: ignore[name-defined]
    digits = load("digits")
    images, labels = digits.test[torch.arange(len(digits.test))] / 255, digits.test.labels
    assert row.result.clean_accuracy == float((Means()(images).argmax(1) == labels).double().mean())
    assert set(row.result.protocols) == set(PROTOCOLS.builtin)
    assert row.result.method == "means"
    assert f"clean {100 * row.result.clean_accuracy:.1f} %" in repr(row)
    assert repr(row.result) == f"<row {row.path.name}: {row.result.summary}>"
    records = row.records("certify")
    assert records["idx"].tolist() == [0, 1, 2, 3, 4, 5]
    torch.testing.assert_close(load_model(row)(images), Means()(images))
    torch.testing.assert_close(load_model(row.path.name, runs=row.path.parent)(images), Means()(images))


def test_its_command_is_the_call_that_makes_it_again(
    row: suite.store.folder.RunFolder,  # type: ignore[name-defined]
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    made = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("suite.api.evaluate.run", lambda spec, *_, data: made.append(spec.on(data.fingerprint)))
    eval(row.result.command, {"suite": suite, "model": Means()})
    (again,), own = made, Path(row.spec.parameters["file"]).name
    assert again.parameters | {"file": own} == row.spec.parameters | {"file": own}
    assert again.model_copy(update={"parameters": row.spec.parameters}) == row.spec


def test_it_is_the_row_of_suite_certify(row: suite.store.folder.RunFolder) -> None:  # type: ignore[name-defined]
    digits = load("digits")
    alone = suite.certify(
        Means(), digits.test[torch.arange(6)], digits.test.labels[:6], sigma=0.25, n=100, deterministic=True
    )
    assert row.records("certify")["radius"].tolist() == alone["radius"].tolist()


def test_the_same_call_goes_on_and_another_network_gets_another_row(tmp_path: Path) -> None:
    given = {"sigma": 0.25, "runs": tmp_path, "track": False, "n": 100, "images": 2}
    first = evaluate(Means(), "digits", **given)
    written = (first.path / "certify-").parent.stat().st_mtime_ns, (first.records_file("certify")).stat().st_mtime_ns
    assert evaluate(Means(), "digits", **given).path == first.path
    assert first.records_file("certify").stat().st_mtime_ns == written[1]
    other = Means()
    other.get_buffer("means").mul_(0.9)
    assert evaluate(other, "digits", **given).path != first.path


def test_the_same_weights_with_other_answers_are_noticed(tmp_path: Path) -> None:
    class Scaled(Means):
        scale = 1.0

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.scale * x)

    network = Scaled()
    given = {"sigma": 0.25, "runs": tmp_path, "track": False, "n": 100, "images": 2, "name": "scaled"}
    evaluate(network, "digits", **given)
    network.scale = 0.5
    with pytest.raises(UserError, match="gave other answers before"):
        evaluate(network, "digits", **given)


def test_a_row_of_a_network_from_python_says_so_elsewhere(
    row: suite.store.folder.RunFolder,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[name-defined]
) -> None:
    monkeypatch.setattr("suite.networks.references.GIVEN", {})
    with pytest.raises(UserError, match=r"given from Python, by suite\.evaluate"):
        load_model(row)


def test_distances_of_an_attack_are_those_of_a_plane() -> None:
    """The nearest image of the other half-space is |mean − t|·√d away."""
    images = torch.full((3, 1, 8, 8), 0.5) + torch.tensor([0.05, 0.1, -0.2]).view(3, 1, 1, 1)
    found = attack(Halves(), images, torch.tensor([1, 1, 0]))
    assert found["best"].tolist() == pytest.approx([0.4, 0.8, 1.6], rel=0.02)
    assert attack(Halves(), images, torch.tensor([0, 1, 0]))["correct"].tolist() == [0, 1, 1]


def test_an_audit_finds_what_is_inside_of_a_radius_and_nothing_else() -> None:
    """A vote's radius is true of a half-space's pass; at half the plane's distance nothing is found."""
    images = torch.full((2, 1, 8, 8), 0.5) + torch.tensor([0.05, -0.1]).view(2, 1, 1, 1)
    found = audit(Halves(), images, torch.tensor([1, 0]), sigma=0.25, n=1_000, steps=10, searches=["pgd", "ddn"])
    assert (found["radius"] > 0.2).all()
    assert found["violated"].tolist() == [0, 0]
    assert (found["radius"] < [0.4, 0.8]).all()


def test_predict_names_the_most_probable_class_or_abstains() -> None:
    """On the plane both classes are as probable: Predict abstains with probability 1 − α or more."""
    images = torch.full((3, 1, 8, 8), 0.5) + torch.tensor([0.2, -0.2, 0.0]).view(3, 1, 1, 1)
    assert predict(Halves(), images, sigma=0.5, n=200).tolist() == [1, 0, -1]
    again = predict(Halves(), images[2:].repeat(300, 1, 1, 1), sigma=0.5, n=100, alpha=0.05)
    assert binomtest(int((again != -1).sum()), 300, 0.05).pvalue > 1e-4 or np.mean(again.numpy() != -1) < 0.05


def test_uint8_images_are_divided_by_255() -> None:
    images = torch.full((2, 1, 8, 8), 140, dtype=torch.uint8)
    images[1] = 100
    assert predict(Halves(), images, sigma=0.1).tolist() == [1, 0]


IMAGES = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda runs: evaluate(Means(), "digits", sigma=-1, runs=runs), "sigma: Input should be greater than 0"),
        (lambda runs: evaluate(Means(), "digitz", sigma=1, runs=runs), "unknown dataset 'digitz'"),
        (lambda runs: evaluate(Means(), "digits", sigma=1, protocols=["certifi"], runs=runs), "certify"),
        (lambda runs: evaluate(Means(), "digits", sigma=1, sigmaa=3, runs=runs), "unknown setting 'sigmaa'"),
        (lambda runs: evaluate(Means(), "digits", kind="margin", runs=runs), "Lipschitz bound"),
        (lambda runs: evaluate(nn.Flatten(), "digits", sigma=1, runs=runs), "has no weights"),
        (lambda runs: evaluate(nn.Linear(3, 2), "digits", sigma=1, runs=runs), "does not take images of"),
        (lambda runs: evaluate(Halves(), "digits", sigma=1, runs=runs), "not logits of 10 classes"),
        (lambda runs: evaluate("net", "digits", sigma=1, runs=runs), "takes a network"),
        (lambda runs: predict(Halves(), IMAGES, sigma=0), "sigma"),
        (lambda runs: predict(Halves(), IMAGES, sigma=1, alpha=1), "0 < alpha < 1"),
        (lambda runs: predict(Halves(), IMAGES, sigma=1, idx=[1]), "2 images but 1 numbers"),
        (lambda runs: predict(Halves(), IMAGES[0], sigma=1), "shape"),
        (lambda runs: attack(Halves(), IMAGES * 255, torch.tensor([0, 1])), "divide by 255"),
        (lambda runs: attack(Halves(), IMAGES, torch.tensor([0])), "2 images but 1 labels"),
        (lambda runs: attack(Halves(), IMAGES, torch.tensor([0, 1]), step=3), "unknown setting 'attack.step'"),
        (lambda runs: load_model("nothing", runs=runs), "there is no run 'nothing'"),
        (lambda runs: RunSpec(method="baseline", dataset="digits", sigma=-1), "sigma: Input should be greater than 0"),
        (lambda runs: RunSpec(method="baseline", dataset="digits", lr="fast"), "lr"),
    ],
)
def test_a_mistake_is_a_line(tmp_path: Path, call, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=said) as caught:
        call(tmp_path / "runs")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "runs").glob("checkpoint-*"))
