"""A classifier's answer to a batch, the same for an image whatever company it comes in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.errors import UserError

TIE = 1e-5  # of the largest logit: float32 results differ between batch sizes by less than a hundredth of this


@torch.inference_mode()
def top_classes(model: nn.Module, x: Tensor, k: int = 1) -> Tensor:
    """The k classes with the largest logits, largest first: (B, k) int64 for x (B, C, H, W), model in eval mode.

    The last bits of a logit may depend on the batch it was computed in. Where two of the k + 1 leading logits are as
    near as that, the image is classified again on its own, so that the answer depends on the image alone.
    Raises UserError where a logit is not finite, or for k classes of a model with no more than k.
    """
    logits = model(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x).float()
    if logits.ndim != 2 or logits.shape[1] <= k:
        raise UserError(f"the top-{k} rule needs logits of shape (B, K) with K > {k}, not {tuple(logits.shape)}")
    if not bool(torch.isfinite(logits).all()):
        raise UserError("the model gives logits that are not finite")
    values, classes = logits.topk(k + 1)
    gaps = (values[:, :-1] - values[:, 1:]).amin(dim=1)
    close = (gaps <= TIE * logits.abs().amax(dim=1)).nonzero().flatten()
    if len(x) > 1:
        for row in close.tolist():
            classes[row] = model(x[row : row + 1]).float().topk(k + 1).indices
    return classes[:, :k]
