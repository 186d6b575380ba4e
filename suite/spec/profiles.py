"""What a profile fills in. Looked up as "profile", then "profile/dataset"; a method's own recipe is laid over both."""

from __future__ import annotations

from typing import Any

PROFILES: dict[str, dict[str, Any]] = {
    # seconds: the embedded digits
    "demo": {
        "arch": "cnn",
        "sigma": 0.25,
        "training": {"epochs": 15, "batch_size": 64, "lr": 0.1, "schedule": "cosine"},
        "certify": {"n": 1_000, "images": 100},
        "lbound": {"images": 100, "draws": 200},
        "attack": {"images": 50, "draws": 8},
        "timing": {"repeats": 9},
        "agreement": {"images": 100},
        "audit": {"images": 50, "restarts": 2, "steps": 20, "draws": 8, "queries": 1_000},
    },
    # minutes: CIFAR-10 on two cores
    "quick": {
        "arch": "airbench-w32",
        "sigma": 0.25,
        "training": {"epochs": 8, "batch_size": 256, "lr": 0.15, "schedule": "one-cycle", "precision": "auto"},
        "certify": {"n": 1_000, "images": 300},
        "lbound": {"images": 300, "draws": 200},
        "attack": {"images": 100, "draws": 16},
        "agreement": {"images": 300},
        "audit": {"images": 100, "restarts": 3, "steps": 20, "draws": 8, "queries": 1_000},
    },
    "quick/cifar10": {"training": {"augmentation": "crop-flip-2"}},
    "quick/cifar100": {"training": {"augmentation": "crop-flip-2"}},
    "quick/imagenet": {
        "arch": "resnet18",
        "certify": {"n0": 25, "images": 100, "top": 5},
        "attack": {"images": 10, "draws": 8},
        "audit": {"images": 10},
    },
    # hours on a GPU: the numbers of "Adversarial Boot Camp"
    "paper": {
        "arch": "resnet34",
        "sigma": 0.1,
        "training": {"epochs": 200, "batch_size": 128, "lr": 0.1, "schedule": "cosine", "precision": "auto"},
        "certify": {"n": 10_000, "images": 1_000},
        "protocols": "all",
    },
    "paper/imagenet": {
        "arch": "resnet50",
        "sigma": 0.25,
        "training": {
            "epochs": 90, "batch_size": 256, "schedule": "steps", "milestones": (30, 60), "factor": 0.1,
            "weight_decay": 1e-4, "nesterov": False,
        },
        "certify": {"n0": 25, "n": 1_000, "images": 5_000, "top": 5},
        "attack": {"draws": 25},
    },
}  # fmt: skip


def default_profile(dataset: str) -> str:
    """The profile that fits data and machine: `demo` for digits, else `paper` where there is a GPU, else `quick`."""
    if dataset == "digits":
        return "demo"
    import torch

    return "paper" if torch.cuda.is_available() else "quick"


def fast_precision() -> str:
    """What `auto` stands for: bf16 where this machine multiplies in it and does not emulate it, else fp32."""
    import torch

    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    cpu = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if cpu.get("avx512_bf16") or cpu.get("amx_bf16") else "fp32"
