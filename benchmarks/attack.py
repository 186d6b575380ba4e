"""The best distance of `suite attack` beside other libraries' attacks, and what `suite audit` finds of masked models.

Of the first correctly classified test images: the median and the mean ℓ2 distance, the steps with a gradient that an
image takes, and seconds. The others are adversarial-library's where it is installed, by `pip install --no-deps adv-lib`
(without what it plots with), else foolbox's, FMN with the projection that its paper has: foolbox 3.3.4 divides a norm
by itself.

Then certificates of the network's vote at σ = 0.1 (n = 1,000) are audited on its single pass; on the same network with
logits times 1,000; with images rounded to 16 levels, which makes every gradient 0; and with nothing but its answers.

    python benchmarks/attack.py [--images 50] [--audited 10] [--checkpoint FILE] [--data-root FOLDER]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import suite  # noqa: F401  before torch: it says how torch's threads wait

# isort: split
import eagerpy
import foolbox
import pandas as pd
import torch
from torch import Tensor, nn

from suite.attacks.target import norm
from suite.data import load
from suite.networks.architectures import build
from suite.networks.checkpoints import adopt
from suite.protocols.protocol import Subject
from suite.spec.run_spec import RunSpec
from suite.spec.sections import PROTOCOLS

SIGMA = 0.1


class FMN(foolbox.attacks.L2FMNAttack):
    def project(self, x: Any, x0: Any, epsilon: Any) -> Any:
        delta = x.raw - x0.raw
        scale = (epsilon.raw.view(-1, 1, 1, 1) / norm(delta)).clamp(max=1)
        return eagerpy.astensor((x0.raw + scale * delta).to(x0.raw.dtype))


class Changed(nn.Module):
    """A network whose images and logits are changed on their way."""

    def __init__(self, network: nn.Module, before: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor]):
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.network(self.before(x)))


def others(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, tuple[int, Callable[[], Tensor]]]:
    """Another library's attacks: the steps that an image takes, and the images found."""
    if importlib.util.find_spec("adv_lib"):
        sys.modules.setdefault("visdom", ModuleType("visdom"))  # which it plots with
        from adv_lib.attacks import alma, ddn, fmn

        return {
            "adv-lib FMN": (300, lambda: fmn(model, x, y, norm=2, steps=300)),
            "adv-lib DDN": (300, lambda: ddn(model, x, y, steps=300, levels=None)),
            "adv-lib ALMA": (1000, lambda: alma(model, x, y, distance="l2", num_steps=1000, init_lr_distance=0.1)),
        }
    wrapped, criterion = foolbox.PyTorchModel(model, (0, 1), "cpu"), foolbox.criteria.Misclassification(y)
    return {
        "foolbox FMN": (300, lambda: FMN(steps=300).run(wrapped, x, criterion)),
        "foolbox DDN": (300, lambda: foolbox.attacks.DDNAttack(steps=300).run(wrapped, x, criterion)),
    }


def records(protocol: str, model: nn.Module, x: Tensor, y: Tensor, given: dict[str, Any], **needs: Any) -> pd.DataFrame:
    spec = RunSpec(method="baseline", dataset="cifar10", profile="paper", arch="resnet20", sigma=SIGMA, **given)
    subject = Subject(model, spec, 256, torch.device("cpu"), needs.__getitem__, lambda _: model)
    return pd.DataFrame(PROTOCOLS.get(protocol).records(subject, zip(range(len(x)), x, y.tolist(), strict=True)))


def compare(model: nn.Module, x: Tensor, y: Tensor) -> None:
    def timed(way: Callable[[], Any]) -> tuple[Any, float]:
        begun = time.process_time()
        return way(), (time.process_time() - begun) / len(x)

    lines: dict[str, tuple[Tensor, str, float]] = {}
    for best_steps in (25, 50):
        found, seconds = timed(lambda n=best_steps: records("attack", model, x, y, {"attack.best_steps": n}))  # type: ignore[misc]
        for name in ("pgd", "ddn") if best_steps == 25 else ():
            lines[f"the paper's {name.upper()}"] = (torch.tensor(found[name]), "20", float("nan"))
        lines[f"ours, best_steps {best_steps}"] = (torch.tensor(found["best"]), f"{40 + 2 * best_steps}", seconds)
    theirs = []
    for name, (steps, attack) in others(model, x, y).items():
        x_adv, seconds = timed(attack)
        distance = norm(x_adv.double() - x.double()).flatten()
        theirs.append(distance.masked_fill(model(x_adv).argmax(dim=1) == y, torch.inf))
        lines[name] = (theirs[-1], str(steps), seconds)
    best = torch.stack(theirs).amin(dim=0)
    lines["the best of theirs"] = (best, "", float("nan"))
    print(f"{len(x)} images; distances, and their medians' ratio to that of the best of theirs, image by image")
    print(f"{'':22} {'median':>8} {'mean':>8} {'/ best':>7} {'steps':>6} {'s/image':>8}")
    for name, (distance, passes, seconds) in lines.items():
        ratio = distance.nanmedian() / best.median()
        print(
            f"{name:22} {distance.nanmedian():8.4f} {distance.nanmean():8.4f} {ratio:7.3f} {passes:>6} {seconds:8.2f}"
        )


def audit(model: nn.Module, x: Tensor, y: Tensor) -> None:
    def rounded(images: Tensor) -> Tensor:
        return (15 * images).round() / 15

    def answers(logits: Tensor) -> Tensor:
        return nn.functional.one_hot(logits.argmax(dim=1), logits.shape[1]).float()

    print(f"{'audited':22} {'searches':30} {'violated':>9} {'nearest':>8} {'median':>7} {'s/image':>8}")
    for name, before, after in (
        ("the network", nn.Identity(), nn.Identity()),
        ("logits times 1,000", nn.Identity(), lambda z: 1000 * z),
        ("images rounded", rounded, nn.Identity()),
        ("answers alone", nn.Identity(), answers),
    ):
        changed = Changed(model, before, after).eval()
        certificates = records("certify", changed, x, y, {"n": 1_000})
        for searches in (("pgd", "ddn", "fmn"), ("apgd-ce", "apgd-t"), ("hopskipjump",)):
            begun = time.process_time()
            needs = {"certify": certificates, "lbound": pd.DataFrame({"idx": []})}
            found = records("audit", changed, x, y, {"audit.searches": searches}, **needs)
            seconds = (time.process_time() - begun) / len(x)
            radii = found.loc[found["attacked"] == 1]
            nearest = f"{radii['ratio'].min():8.2f} {radii['ratio'].median():7.2f}"
            violated = f"{radii['violated'].sum()}/{len(radii)}"
            print(f"{name:22} {', '.join(searches):30} {violated:>9} {nearest} {seconds:8.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Adversarial distances beside other libraries'; masked models.")
    parser.add_argument("--checkpoint", type=Path, default=os.environ.get("SUITE_CHECKPOINT"))
    parser.add_argument("--data-root", type=Path)
    for name, default in (("images", 50), ("audited", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    if not given.checkpoint:
        print("nothing measured: give a ResNet-20 for CIFAR-10 with --checkpoint, or as $SUITE_CHECKPOINT")
        return
    model = build("resnet20", 10, (3, 32, 32), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    adopt(model, Path(given.checkpoint))
    model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    test = load("cifar10", given.data_root).test
    x, y = test[torch.arange(2 * given.images)].float() / 255, test.labels[: 2 * given.images]
    right = (model(x).argmax(dim=1) == y).nonzero().flatten()[: given.images]
    compare(model, x[right], y[right])
    audit(model, x[right[: given.audited]], y[right[: given.audited]])


if __name__ == "__main__":
    main()
