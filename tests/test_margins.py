"""Margin certificates: where distances are known, against attacks, of somebody else's layers, and refused."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from deel import torchlip
from helpers.cli import call, succeed
from torch import Tensor, nn

from methods.method import Step
from suite import UserError
from suite.data import load
from suite.networks.architecture import Architecture
from suite.networks.architectures import ARCHITECTURES, Normalize, build
from suite.networks.margins import (
    FACTOR,
    check_bound,
    exact,
    features,
    lipschitz_bound,
    margin_radii,
    rounding_allowance,
)
from suite.protocols.audit import PROTOCOL as AUDIT
from suite.protocols.certify import PROTOCOL as CERTIFY
from suite.protocols.protocol import Subject
from suite.spec.run_spec import RunSpec


class Plain(nn.Module):
    """No features but the pixels, and a linear head: distances to where its answer changes are those to planes."""

    def __init__(self, dimension: int, classes: int):
        super().__init__()
        self.head = nn.Linear(dimension, classes)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(x.flatten(1))
        return found

    def lipschitz_bound(self) -> float:
        return 1.0


def with_normalize(network: nn.Module, channels: int = 3, std: float = 1.0) -> nn.Module:
    normalize = Normalize((0.5,) * channels, (std,) * channels)
    return nn.Sequential(OrderedDict(normalize=normalize, network=network)).eval()


def plain_model(classes: int = 5, std: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    return with_normalize(Plain(3 * 4 * 4, classes), std=std)


@pytest.mark.parametrize("std", [1.0, 0.25])
def test_radii_are_the_distances_to_the_planes_where_features_are_the_pixels(std: float) -> None:
    model = plain_model(std=std)
    x = torch.rand(50, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    twin = exact(model)
    with torch.no_grad():
        u = twin(x.double())
    classes = u.argmax(dim=1, keepdim=True)
    head = model.get_submodule("network").get_submodule("head")
    assert isinstance(head, nn.Linear)
    radii = margin_radii(u, classes, head, lipschitz_bound(model), 0.0)
    w = head.weight.detach().double().numpy() / std  # with respect to pixels
    for i in range(len(x)):
        a = int(classes[i])
        distance = {j: float(u[i, a] - u[i, j]) / np.linalg.norm(w[a] - w[j]) for j in range(5) if j != a}
        nearest = min(distance, key=distance.__getitem__)
        assert float(radii[i]) == pytest.approx(distance[nearest], rel=1e-9)
        step = torch.tensor((w[nearest] - w[a]) / np.linalg.norm(w[nearest] - w[a])).view(3, 4, 4)
        with torch.no_grad():
            inside = twin((x[i].double() + (1 - 1e-9) * radii[i] * step)[None]).argmax()
            outside = twin((x[i].double() + (1 + 1e-9) * radii[i] * step)[None]).argmax()
        assert (int(inside), int(outside)) == (a, nearest)


def test_a_set_of_classes_stays_together_within_its_radius() -> None:
    """Of the two leaders the weaker one and the third class come nearest, in the distance of their own rows."""
    head = nn.Linear(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[3.0, 0], [0, 4.0], [0, 0]]))
    u = torch.tensor([[9.0, 6.0, 1.0]], dtype=torch.float64)
    two = margin_radii(u, torch.tensor([[0, 1]]), head, 1.0, 0.0)
    assert float(two) == pytest.approx(min(8 / 3, 5 / 4))
    assert float(margin_radii(u, torch.tensor([[0]]), head, 2.0, 0.0)) == pytest.approx(min(3 / 5, 8 / 3) / 2)


def test_the_allowance_is_taken_off_and_a_margin_within_it_certifies_nothing() -> None:
    head = nn.Linear(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0], [-1.0, 0]]))
    u = torch.tensor([[3.0, 1.0], [1.2, 1.0]], dtype=torch.float64)
    assert margin_radii(u, torch.tensor([[0], [0]]), head, 1.0, 0.5).tolist() == [0.75, 0.0]


def test_two_classes_with_one_row_are_as_far_apart_as_their_logits_say() -> None:
    """Rows that are alike never change places: where the margin is above the allowance the radius has no end."""
    head = nn.Linear(2, 2)
    with torch.no_grad():
        head.weight.fill_(1.0)
    u = torch.tensor([[3.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    radii = margin_radii(u, torch.tensor([[0], [0]]), head, 1.0, 0.5)
    assert radii[0] > 1e300
    assert radii[1] == 0


def test_the_allowance_exceeds_the_errors_of_float32_by_its_factor() -> None:
    torch.manual_seed(0)
    model = build("lipschitz-small", 10, (3, 32, 32), (0.5,) * 3, (0.25,) * 3).eval()
    with torch.no_grad():
        model.get_submodule("network").get_submodule("head").weight.mul_(20)  # type: ignore[operator]
    twin = exact(model)
    allowance = rounding_allowance(model, twin, (3, 32, 32))
    x = torch.rand(200, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        error = model(x).double() - twin(x.double())
    seen = float((error.amax(dim=1) - error.amin(dim=1)).max())
    assert seen > 0
    assert FACTOR / 4 * seen < allowance < 1e-2


def from_torchlip(coefficient: float = 1.0) -> nn.Module:
    """Layers of deel-torchlip, whose norms are power iterations and Björck's: near 1, estimated from below."""
    torch.manual_seed(0)

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                torchlip.SpectralConv2d(3, 8, 3, padding=1), torchlip.GroupSort2(), torchlip.ScaledAvgPool2d(2),
                torchlip.SpectralConv2d(8, 8, 3, padding=1), torchlip.GroupSort2(), nn.Flatten(),
                torchlip.SpectralLinear(8 * 16, 32),
            )  # fmt: skip
            self.head = nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.head(self.body(x))
            return found

        def lipschitz_bound(self) -> float:
            return coefficient

    theirs = Theirs()
    for _ in range(3):
        theirs(torch.rand(4, 3, 8, 8))
    return with_normalize(theirs)


def test_layers_of_an_independent_library_keep_what_they_promise_and_no_more() -> None:
    x = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = check_bound(from_torchlip(1.01), x)
    assert 0.1 < found <= 1.01
    with pytest.raises(UserError, match="its certificates would not hold"):
        check_bound(from_torchlip(0.5 * found), x)


def test_features_are_what_the_head_gets() -> None:
    model = plain_model()
    x = torch.rand(3, 3, 4, 4)
    seen, logits = features(model, x)
    assert torch.allclose(seen, (x - 0.5).flatten(1))
    assert torch.equal(logits, model(x))


class Doubled(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class TwoHeads(Plain):
    def __init__(self) -> None:
        super().__init__(48, 5)
        self.head = nn.Sequential(nn.Linear(48, 5))  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (nn.Linear(48, 5), "no lipschitz_bound()"),
        (TwoHeads(), "linear head"),
        (Doubled(48, 5), "what the network's `head` gives"),
    ],
)
def test_a_network_of_another_form_is_refused(network: nn.Module, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("(", r"\(").replace(")", r"\)")):
        check_bound(with_normalize(network), torch.rand(2, 3, 4, 4))


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bound_that_is_no_positive_number_is_refused(bound: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plain, "lipschitz_bound", lambda self: bound)
    with pytest.raises(UserError, match="positive number"):
        lipschitz_bound(plain_model())


def test_weights_that_are_not_finite_certify_nothing() -> None:
    model = plain_model()
    with torch.no_grad():
        next(model.parameters())[0, 0] = float("nan")
    with pytest.raises(UserError, match="not finite"):
        lipschitz_bound(model)


SMALL = ["--dataset", "digits", "--no-track", "--images", "20", "--epochs", "2"]


def test_a_run_of_margins_needs_no_noise_and_no_protocol_asks_for_it(tmp_path: Path) -> None:
    line = ["run", "--method", "lipschitz", *SMALL, "--protocols", "all", "--runs", str(tmp_path), "--format", "json"]
    small = ["--set", "attack.images=8", "--set", "audit.images=8"]
    small += ["--set", 'audit.searches=["pgd","ddn","fmn"]']
    row = json.loads(succeed(*line, *small))
    assert (row["kind"], row["deployed"], row["sigma"], row["alpha"], row["n"]) == ("margin", "pass", None, 0.0, None)
    assert row["protocols"] == ["accuracy", "certify", "attack", "timing", "audit"]
    assert row["audit"]["certify"]["violations"] == 0
    assert row["audit"]["certify"]["attacked"] > 0
    assert row["abstained"] == 0
    assert "proven from its weights" in row["claim"]
    folder = Path(row["folder"])
    [file] = folder.glob("certify-*.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert {record["bound"] for record in records} == {1.0}
    assert all(0 < record["allowance"] < 1e-3 for record in records)
    again = json.loads(succeed(*line, *small))
    assert {**again, "date": ""} == {**row, "date": ""}


@pytest.fixture(scope="module")
def quick_network() -> nn.Module:
    """A Lipschitz network for the digits after a few steps of training."""
    spec = RunSpec(method="lipschitz", dataset="digits", epochs=3)
    data = load("digits", None)
    torch.manual_seed(0)
    model = build(spec.arch, 10, data.shape, data.mean, data.std)
    method = spec.build_method()
    method.begin(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for indices in torch.arange(1_280).split(64):
        x, y = data.train[indices].float() / 255, data.train.labels[indices]
        optimizer.zero_grad()
        method.loss(model.train(), x, y, Step(torch.Generator())).backward()
        optimizer.step()
    return model.eval()


EVERYTHING = ["pgd", "ddn", "fmn", "apgd-ce", "apgd-t", "fab-t", "square", "hopskipjump"]


@pytest.mark.parametrize("searches", [EVERYTHING, ["square"], ["fab-t"]], ids="-".join)
def test_the_audit_finds_nothing_in_margins_and_something_in_radii_five_times_as_large(
    quick_network: nn.Module, searches: list[str]
) -> None:
    data = load("digits", None)
    given = {"audit.steps": 20, "audit.queries": 300, "audit.restarts": 2, "audit.searches": searches}
    spec = RunSpec(method="lipschitz", dataset="digits", **given)
    images = [(i, data.test[torch.tensor([i])][0].float() / 255, int(data.test.labels[i])) for i in range(12)]

    def audit(factor: float) -> pd.DataFrame:
        certificates = pd.DataFrame(CERTIFY.records(subject(pd.DataFrame()), images))
        certificates["radius"] *= factor
        return pd.DataFrame(AUDIT.records(subject(certificates), images))

    def subject(certificates: pd.DataFrame) -> Subject:
        return Subject(
            quick_network, spec, 64, torch.device("cpu"),
            records=lambda name: certificates, other=lambda other: quick_network,
        )  # fmt: skip

    true, inflated = audit(1.0), audit(5.0)
    assert (true["attacked"].sum(), true["violated"].sum()) == (12, 0)
    assert true["ratio"].dropna().gt(1).all()
    assert inflated["violated"].sum() >= 6


BAD: list[tuple[list[str], str]] = [
    (["--method", "baseline", "--set", "kind=margin"], "a margin certificate needs a network with a Lipschitz bound"),
    (["--method", "lipschitz", "--set", "kind=margin", "--set", "deployed=vote"], "is of a single pass"),
    (["--method", "lipschitz", "--arch", "cnn"], "trains a network with a Lipschitz bound, and cnn has none"),
    (["--method", "lipschitz", "--protocols", "lbound"], "lbound needs the noise of a vote"),
    (["--method", "lipschitz", "--protocols", "agreement"], "agreement needs the noise of a vote"),
    (["--method", "lipschitz", "--set", "rho=-1"], "greater than 0"),
    (["--method", "lipschitz", "--set", "kind=average"], "'vote' or 'margin'"),
]


@pytest.mark.parametrize(("options", "said"), BAD)
def test_what_cannot_be_certified_is_one_line_before_any_work(options: list[str], said: str, tmp_path: Path) -> None:
    code, out, err = call("run", *options, *SMALL, "--runs", str(tmp_path))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_of_another_architecture_is_told_how_to_name_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "student.pt"
    torch.save(build("lipschitz-small-w8", 10, (1, 8, 8), (0.5,), (0.3,)).state_dict(), file)
    line = ["run", "--method", "lipschitz-heat", *SMALL, "--init", str(file), "--runs", str(tmp_path / "runs")]
    code, _, err = call(*line)
    assert code == 2
    assert "student.pt is a checkpoint of another architecture" in err
    assert err.rstrip().endswith(
        "--init is the teacher of lipschitz-heat, and is taken for cnn: --set start.arch=… names its architecture"
    )
    code, _, err = call(*line[:-2], "--init", str(tmp_path / "absent.pt"), "--runs", str(tmp_path / "runs"))
    assert (code, "is the teacher" in err, "no checkpoint at" in err) == (2, False, True)
    code, _, err = call(*line, "--set", "start.arch=lipschitz-small-w8", "--arch", "lipschitz-small-w8")
    assert code == 0, err


def test_a_start_of_other_classes_is_one_line(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "seven.pt"
    torch.save(build("cnn", 7, (1, 8, 8), (0.5,), (0.3,)).state_dict(), file)
    code, _, err = call(
        "run", "--method", "lipschitz-heat", *SMALL, "--init", str(file), "--set", "start.arch=cnn",
        "--runs", str(tmp_path / "runs"),
    )  # fmt: skip
    assert (code, len(err.splitlines()[-1:])) == (2, 1)
    assert "number of classes" in err
    assert "Traceback" not in err


def test_a_foreign_network_that_declares_too_little_gets_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Steep(Plain):
        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.head(3 * x.flatten(1))
            return found

    def registered(kind: type[Plain]) -> Any:
        return Architecture(lambda classes, shape, width: kind(64, classes), lipschitz=True)

    monkeypatch.setattr(ARCHITECTURES, "_registered", {"plain": registered(Plain), "steep": registered(Steep)})
    line = ["run", "--method", "lipschitz", *SMALL, "--runs", str(tmp_path), "--protocols", "certify"]
    succeed(*line, "--arch", "plain", "--format", "json")
    code, _, err = call(*line, "--arch", "steep")
    assert code == 2
    assert "declares a Lipschitz bound of 1 " in err
    assert not list(tmp_path.glob("lipschitz-digits-steep*/result.json"))
