"""The training loop that all methods share: steps on keyed batches, resumable at any step to the same weights."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from methods.method import Method, Step
from suite.data import Dataset
from suite.data.augment import augment
from suite.data.shuffle import epoch_order
from suite.errors import Diverged, UserError
from suite.networks.device import upload
from suite.progress import progress
from suite.smoothing.noise import generator, key
from suite.spec.model_spec import ModelSpec
from suite.spec.sections import Training
from suite.store.files import write_atomically
from suite.team import TEAM

ADAM_SECOND = 0.999  # AdamW's average of squared gradients
CHECKPOINT_SHARE = 0.02  # of the training time may go into writing checkpoints
Report = Callable[[ModelSpec, dict[str, float]], None]  # the model, and a point of its history
Watch = Callable[[int, int, nn.Module], None]  # steps done, of how many, and the model as it is then


def learning_rate(settings: Training, epoch: float, epochs: float) -> float:
    """The learning rate at a moment of a stage of training that lasts `epochs` (fractions count).

    constant; cosine to 0; linear to factor × lr at the last milestone, or at the end, and constant from there;
    one-cycle: linear up over the first fifth, then linear to 0; steps: × factor at milestones.
    """
    t = epoch / epochs
    if settings.schedule == "constant":
        return settings.lr
    if settings.schedule == "cosine":
        return settings.lr * 0.5 * (1 + math.cos(math.pi * t))
    if settings.schedule == "linear":
        fallen = min(1.0, epoch / (settings.milestones[-1] if settings.milestones else epochs))
        return settings.lr * (1 - fallen * (1 - settings.factor))
    if settings.schedule == "one-cycle":
        return settings.lr * min(t / 0.2, (1 - t) / 0.8)
    return settings.lr * settings.factor ** sum(epoch >= milestone for milestone in settings.milestones)


def training_steps(settings: Training, images: int) -> int:
    """How many batches training takes over a training set of that size."""
    return max(1, round(settings.epochs * max(1, images // settings.batch_size)))


def batches(
    data: Dataset, spec: ModelSpec, first: int, last: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Training batches number `first` to `last` on a device: (augmented pixels in [0,1] (B, C, H, W), labels (B,)).

    Each depends on the seed and its number only. The images left over at an epoch's end wait for another order.
    """
    size = min(spec.training.batch_size, len(data.train))
    per_epoch = len(data.train) // size
    kind = spec.training.augmentation
    kind = data.augmentation if kind == "default" else kind
    while first < last:
        epoch, begin = divmod(first, per_epoch)
        order = epoch_order(len(data.train), size, data.train.groups, generator(spec.seed, "order", epoch))
        end = min(per_epoch, begin + last - first)
        indices = order[: per_epoch * size].split(size)[begin:end]
        crop_seed, smallest = key(spec.seed, "crop", epoch), spec.training.smallest_crop
        for number, images in enumerate(data.train.batches(indices, crop_seed=crop_seed, smallest_crop=smallest)):
            shaken = augment(upload(images, device), kind, generator(spec.seed, "augment", first + number))
            yield shaken.float() / 255, upload(data.train.labels[indices[number]], device)
        first += end - begin


def train(
    model: nn.Module,
    method: Method[Any],
    data: Dataset,
    spec: ModelSpec,
    *,
    checkpoint: Path,
    device: torch.device,
    watch: Watch | None = None,
    report: Report | None = None,
    follows: float = 0.0,
) -> list[dict[str, float]]:
    """Train `model` in place, by a method that has begun. Its history: the mean loss, twenty times an epoch.

    Everything is a function of the spec and the step, so training that was interrupted goes on from `checkpoint`
    to the very weights that it would have reached. The losses are looked at twenty times an epoch, so that a device
    does not wait for each; where there is a `watch`, at every step. `watch` is called after each step; it may look at
    the model and leave it in either mode, and what it raises ends the training. `report` gets each point of the
    history. `follows` is as for `progress`. Raises Diverged where the loss is no longer finite; the last good
    checkpoint stays.
    """
    if len(data.train) < 2:
        raise UserError(f"{data.title} from {data.source} has no training images; only its test split is there")
    settings = spec.training
    per_epoch = max(1, len(data.train) // settings.batch_size)
    total = training_steps(settings, len(data.train))
    if total < method.stages:
        raise UserError(f"{total} training steps cannot be shared by {method.stages} timesteps; raise epochs")
    if settings.schedule == "one-cycle" and total < 2 * method.stages:  # its first step has the learning rate 0
        raise UserError(f"{total} training steps are too few for the one-cycle schedule; raise epochs")
    interval = max(1, per_epoch // 20)
    with without_compiler():
        optimizer = make_optimizer(model, settings)
    update = inspect.unwrap(type(optimizer).step)  # as it is: its wrappers import the compiler
    first_steps = [math.ceil(stage * total / method.stages) for stage in range(method.stages)]
    step, history, losses = 0, list[dict[str, float]](), list[Tensor]()
    if not TEAM.rank and checkpoint.exists():
        step, history, before = resume(checkpoint, model, optimizer, method)
        losses = [torch.tensor(value, device=device) for value in before]
        if report:
            for entry in history:
                report(spec, entry)
    if TEAM.size > 1:
        own = state_of(model, optimizer, method), step, losses
        theirs, step, losses = TEAM.share(own, device)
        put(theirs, model, optimizer, method)
    due = time.monotonic()
    with progress(f"train {spec.method}", total, step, follows) as advance:
        for x, y in batches(data, spec, step, total, device):
            stage = step * method.stages // total
            if step == first_steps[stage]:
                share_statistics(model, device)
                method.begin_stage(model, stage, generator(spec.seed, "stage", stage, device=device))
                optimizer.state.clear()
            within = (step - first_steps[stage]) / per_epoch
            rate = learning_rate(settings, within, settings.epochs / method.stages)
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch, x, y = len(x), TEAM.part(x).contiguous(memory_format=torch.channels_last), TEAM.part(y)
            model.train()
            with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
                noise = generator(spec.seed, "method", step, *TEAM.keys, device=device)
                loss = method.loss(model, x, y if method.uses_labels else None, Step(noise, epoch=step / per_epoch))
            model.zero_grad()
            loss.backward()
            loss = TEAM.average(model, loss.detach(), len(x), batch)
            if settings.clip:
                nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            with torch.no_grad():
                update(optimizer)
            step += 1
            losses.append(loss.detach())
            ends = len(losses) == interval or step == total
            saves = time.monotonic() > due and step < total and (ends or TEAM.size == 1)
            values = read_losses(losses, step, total, spec, checkpoint) if saves or ends or watch else []
            if ends:
                mean = sum(values) / len(values)
                history.append({"step": step, "epoch": step / per_epoch, "loss": mean, "lr": rate})
                if report:
                    report(spec, history[-1])
                losses = []
            advance(f"loss {history[-1]['loss']:.4f}" if history else "")
            if saves and not TEAM.rank and _finite(model):
                begun = time.monotonic()
                state = state_of(model, optimizer, method)
                state |= {"step": step, "history": history, "losses": [] if ends else values}
                write_atomically(checkpoint, _bytes(state))
                due = time.monotonic() + (time.monotonic() - begun) / CHECKPOINT_SHARE
            if watch:
                watch(step, total, model)
    if not _finite(model):
        raise Diverged(f"training of {spec.name} diverged: weights are not finite; try a lower lr than {settings.lr:g}")
    return history


def read_losses(losses: list[Tensor], step: int, total: int, spec: ModelSpec, checkpoint: Path) -> list[float]:
    """The losses of the steps up to `step`. Raises Diverged where one is not finite."""
    values: list[float] = torch.stack(losses).tolist()
    for number, value in enumerate(values, start=step - len(values) + 1):
        if not math.isfinite(value):
            raise Diverged(
                f"training of {spec.name} diverged: the loss is {value} at step {number} of {total}; try a lower lr "
                f"than {spec.training.lr:g}. The last good checkpoint is kept in {checkpoint.parent}"
            )
    return values


def make_optimizer(model: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW (Loshchilov and Hutter 2019), whose weight decay is apart from its gradient."""
    groups, momentum = parameter_groups(model, settings), settings.momentum
    if settings.optimizer == "adamw":
        betas = (momentum, ADAM_SECOND)
        return torch.optim.AdamW(groups, lr=settings.lr, betas=betas, weight_decay=settings.weight_decay)
    nesterov = settings.nesterov and momentum > 0
    return torch.optim.SGD(
        groups, lr=settings.lr, momentum=momentum, nesterov=nesterov, weight_decay=settings.weight_decay
    )


@contextmanager
def without_compiler() -> Iterator[None]:
    """Make an optimizer without the import, for seconds, of the compiler that its functions are kept from."""
    plain: Any = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    if hasattr(plain, "__dynamo_disable"):
        yield
        return
    plain.__dynamo_disable = plain
    try:
        yield
    finally:
        del plain.__dynamo_disable


def parameter_groups(model: nn.Module, settings: Training) -> list[dict[str, Any]]:
    """What is trained: the biases are a group of their own, which weight decay may spare."""
    named = list(model.named_parameters())
    return [
        {"params": [parameter for name, parameter in named if not name.endswith("bias")]},
        {
            "params": [parameter for name, parameter in named if name.endswith("bias")],
            "weight_decay": settings.weight_decay if settings.decay_biases else 0.0,
        },
    ]


def _finite(model: nn.Module) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())


def _bytes(state: dict[str, Any]) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def resume(
    checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer, method: Method[Any]
) -> tuple[int, list[dict[str, float]], list[float]]:
    """Put everything in the state of a checkpoint; its step, its history, and the losses since the last point of it."""
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        put(state, model, optimizer, method)
        return int(state["step"]), list(state["history"]), [float(loss) for loss in state["losses"]]
    except Exception as error:  # a damaged file can raise anything
        raise UserError(
            f"{checkpoint} is damaged or not a training checkpoint; remove it to train from the beginning"
        ) from error


def steps_done(checkpoint: Path) -> int:
    """The step that a checkpoint is of; 0 where there is none that can be read."""
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["step"])
    except Exception:  # a damaged file can raise anything
        return 0


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer, method: Method[Any]) -> dict[str, Any]:
    return {
        "model": model.state_dict(),
        "optimizer": inspect.unwrap(type(optimizer).state_dict)(optimizer),
        "method": method.state_dict(),
    }


def put(state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, method: Method[Any]) -> None:
    """Put model, optimizer and method in a state."""
    model.load_state_dict(state["model"])
    inspect.unwrap(type(optimizer).load_state_dict)(optimizer, state["optimizer"])
    method.load_state_dict(state["method"])


def share_statistics(model: nn.Module, device: torch.device) -> None:
    """Give each process the first one's statistics of batch normalisation, from which a stage begins."""
    if TEAM.size > 1:
        model.load_state_dict(TEAM.share(dict(model.named_buffers()), device), strict=False)
