"""HeatSmoothing: "Adversarial Boot Camp: label free certified robustness in one epoch", Algorithm 1 and Appendix A.

From a trained classifier f a model v is trained, without labels, to be what f becomes when it is averaged over
Gaussian noise: v ≈ E[f(x + η)]. One pass of v then stands for many noisy passes of f.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, create_model, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from methods.method import Method, Settings, Step
from methods.penalty import Projections, gradient_penalty
from suite.ranges import Scale

# The minimiser of D + λ(hσ²/2)‖∇v‖² solves v − f = λhσ²Δv. The heat equation (6) in the steps of (11) asks for
# (hσ²/2)Δv, which is λ = ½; the loss as printed (equations 3 and 15) has λ = 1 and averages over N(0, 2σ²I).
LAMBDA = {"paper": 1.0, "exact": 0.5}
LAMBDA_FIELD: dict[str, Any] = {
    "lambda": (Literal["paper", "exact"], Field("paper", description="λ: 1 as printed, ½ as the heat equation has it"))
}


class HeatSettings(Settings):
    """The settings of Algorithm 1, in the paper's symbols."""

    kappa: int = Field(10, ge=1, le=10_000, description="κ, random projections per image")
    delta: Scale = Field(0.1, description="δ, finite-difference step in pixel units")
    normalise: Literal["paper", "unbiased"] = Field("paper", description="P as printed, or times K/κ")
    projections: Projections = Field("gaussian", description="w_j: independent (the paper's), or orthonormal")
    weight: float = Field(1.0, gt=0, description="γ, multiplies the penalty (the paper's CIFAR runs used 5)")
    distance: Literal["softmax", "logits"] = Field("softmax", description="where D is measured")
    noisy: float = Field(0.5, ge=0, le=1, description="share of the batch that v sees with noise")
    frozen_norm: bool = Field(False, description="batch norm keeps f's statistics instead of the batch's")
    timesteps: int = Field(1, ge=1, le=1_000, description="n_T, steps of the heat equation, which share the epochs")
    reinitialise: bool = Field(False, description="v starts every timestep at random weights, not at f_k's")

    @field_validator("reinitialise")
    @classmethod
    def _statistics_to_keep(cls, reinitialise: bool, info: ValidationInfo) -> bool:
        if reinitialise and info.data.get("frozen_norm"):
            raise ValueError("random weights have no batch-norm statistics to keep; set frozen_norm=false")
        return reinitialise


class Heat(Method[HeatSettings]):
    """f_{k+1} = argmin_v E D(v(x'), f_k(x)) + λ·(hσ²/2)·P(v, x') for k = 0 … n_T − 1, h = 1/n_T (eqs. 3, 10, 15).

    f_0 = f, and f_{n_T} is the result. D is ½‖·‖² between softmax outputs (eq. 10) or logits (eq. 15); x' is x, or
    x + η for a random part of the batch, η ~ N(0, (σ(k+1)/n_T)²I), while f_k still sees the clean x; P estimates
    ‖∇v(x')‖²_F (`gradient_penalty`). No label is read.

    The paper's headline is n_T = 1, one epoch from f's weights. Its CIFAR-10 figures came from n_T = 5 timesteps of
    200 epochs: epochs = 1000, timesteps = 5, reinitialise, weight = 5, distance = logits, noisy = 0.
    """

    summary = "label-free Gaussian averaging of a baseline (Adversarial Boot Camp); one pass"
    uses_labels = False
    uses_sigma = True
    starts_from = "baseline"
    stands_for: ClassVar[str | None] = "randomized-smoothing"

    # `lambda` is a word of Python's own: a field may be called so, but not declared in a class
    Parameters: ClassVar[type[HeatSettings]] = create_model("Parameters", __base__=HeatSettings, **LAMBDA_FIELD)

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "training": {"epochs": 1, "batch_size": 8, "lr": 0.01, "schedule": "one-cycle"},
            "parameters": {"distance": "logits"},
        },
        "quick": {
            "training": {
                "epochs": 1, "batch_size": 128, "lr": 0.03, "schedule": "one-cycle", "weight_decay": 0.0, "clip": 5.0,
            },
            "parameters": {
                "kappa": 1, "normalise": "unbiased", "projections": "orthogonal", "distance": "logits",
                "frozen_norm": True,
            },
        },
        "paper": {
            "training": {"epochs": 1, "lr": 0.01, "schedule": "constant", "momentum": 0.9, "weight_decay": 0.0},
        },
    }  # fmt: skip
    tunable: ClassVar[dict[str, str]] = {
        "sigma": "0.05:1:log", "lr": "1e-3:1e-1:log", "kappa": "1:10", "delta": "0.01:0.5:log", "weight": "0.5:8:log",
        "noisy": "0:1", "timesteps": "1:5",
    }  # fmt: skip

    @property
    def passes(self) -> float:
        return 4.0 + 5.0 * self.parameters.kappa

    @property
    def stages(self) -> int:
        return self.parameters.timesteps

    def begin(self, model: nn.Module, start: nn.Module | None = None) -> None:
        self.k = 0
        self.f = copy.deepcopy(model).eval().requires_grad_(False)

    def begin_stage(self, model: nn.Module, stage: int, generator: torch.Generator) -> None:
        self.k = stage
        self.f.load_state_dict(model.state_dict())
        if self.parameters.reinitialise:
            reinitialise(model, generator)

    def state_dict(self) -> dict[str, Any]:
        """What `begin` cannot restore: f_k, once it is not the model that training started from."""
        return {"k": self.k, "f": self.f.state_dict()} if self.k else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self.k = state["k"]
            self.f.load_state_dict(state["f"])

    def loss(self, model: nn.Module, x: Tensor, y: None, step: Step) -> Tensor:
        p = self.parameters
        model.train(not p.frozen_norm)
        with torch.no_grad():
            fx = self.f(x)
        x = self.add_noise(x, step.generator).detach().requires_grad_()
        vx = model(x)
        penalty = gradient_penalty(
            model,
            x,
            vx,
            kappa=p.kappa,
            delta=p.delta,
            generator=step.generator,
            normalise=p.normalise,
            projections=p.projections,
        )
        return self.objective(vx, fx, penalty).mean()

    def add_noise(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x', with noise on a random `noisy` share of the images (B, C, H, W)."""
        p = self.parameters
        if p.noisy == 0:
            return x
        shuffled = torch.rand(len(x), generator=generator, device=x.device).argsort()
        chosen = (shuffled < round(p.noisy * len(x))).view(-1, 1, 1, 1)
        scale = self.sigma * (self.k + 1) / p.timesteps
        return x + chosen * scale * torch.empty_like(x).normal_(generator=generator)

    def objective(self, vx: Tensor, fx: Tensor, penalty: Tensor) -> Tensor:
        """D(v(x'), f_k(x)) + γ·λ·(hσ²/2)·P per image, from both logits (B, K) and P (B,)."""
        p = self.parameters
        outputs = (vx, fx) if p.distance == "logits" else (vx.softmax(dim=1), fx.softmax(dim=1))
        distance = 0.5 * F.mse_loss(*outputs, reduction="none").sum(dim=1)
        h = 1 / p.timesteps
        return distance + p.weight * LAMBDA[getattr(p, "lambda")] * h * self.sigma**2 / 2 * penalty


def reinitialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw every layer's weights anew, by the layer's own rule; they depend on the seed of `generator` alone."""
    fresh = copy.deepcopy(model).cpu()
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(generator.initial_seed())
        for layer in fresh.modules():
            if callable(reset := getattr(layer, "reset_parameters", None)):
                reset()
    model.load_state_dict(fresh.state_dict())
