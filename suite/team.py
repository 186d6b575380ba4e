"""Training by several processes of `torchrun`, one for each device: each has its part of every batch.

They average their gradients after each step, as DistributedDataParallel does. It is not used, because it counts the
passes of a model and methods make several. The weights are those of one process, but for the order of sums, where each
image has its loss by itself. Two things are each process's own: the statistics of batch normalisation, of which the
first one's are kept, and the stream of a method's noise. Only the first process does anything else than training.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from suite.errors import UserError

PATIENCE = timedelta(days=30)  # the others wait while the first one puts a model through its protocols


@dataclass(frozen=True)
class Team:
    """This process's rank among those that train together; without `torchrun` it is alone."""

    rank: int = 0
    size: int = 1

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Team:
        """The one that the variables of `torchrun` say."""
        if "TORCHELASTIC_RUN_ID" not in environment:
            return cls()
        return cls(int(environment["RANK"]), int(environment["WORLD_SIZE"]))

    def join(self) -> None:
        """Meet the others; on CUDA each has the device of its number on its machine."""
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            distributed.init_process_group("cpu:gloo,cuda:nccl", timeout=PATIENCE)
        else:
            distributed.init_process_group("gloo", timeout=PATIENCE)

    def leave(self) -> None:
        """Part from the others, when all of them are done."""
        distributed.barrier()
        distributed.destroy_process_group()

    @property
    def keys(self) -> tuple[int, ...]:
        """What sets the noise of this process apart from the others'."""
        return (self.rank,) if self.size > 1 else ()

    def part(self, batch: Tensor) -> Tensor:
        """This process's images of a batch (B, …). Raises UserError where there are fewer than processes."""
        if len(batch) < self.size:
            raise UserError(f"batch_size = {len(batch)} is less than the {self.size} processes that share a batch")
        return batch[self.rank :: self.size]

    def average(self, model: nn.Module, loss: Tensor, images: int, batch: int) -> Tensor:
        """Put the batch's gradient in place of that of this process's `images` of it; the batch's loss."""
        if self.size == 1:
            return loss
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        whole = torch.cat([loss.flatten(), *(gradient.flatten() for gradient in gradients)]) * (images / batch)
        distributed.all_reduce(whole)
        averaged: Tensor
        averaged, *parts = whole.split([1, *(gradient.numel() for gradient in gradients)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return averaged.squeeze()

    def share(self, what: Any, device: torch.device) -> Any:
        """What the first process has, on this one's device."""
        if self.size == 1:
            return what
        buffer = io.BytesIO()
        if not self.rank:
            torch.save(what, buffer)
        sent = [buffer.getvalue()]
        distributed.broadcast_object_list(sent, device=torch.device("cpu"))
        return what if not self.rank else torch.load(io.BytesIO(sent[0]), map_location=device, weights_only=False)


TEAM = Team.of(os.environ)
