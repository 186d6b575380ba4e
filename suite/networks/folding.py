"""A faster copy of a network for inference: batch norms and ReLUs are folded into the convolutions."""

from __future__ import annotations

import operator
from collections import Counter
from itertools import permutations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Convolution(nn.Module):
    """A 2-d convolution and a ReLU in one step on a CPU; with `into`, a ReLU of the sum with it, which is written over.

    The operators are those that torch.compile uses, oneDNN's, and round as the separate steps do. In an autocast region
    they compute in bf16, or step by step where the machine has no bf16.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.settings = (conv.padding, conv.stride, conv.dilation, conv.groups)

    def forward(self, x: Tensor, into: Tensor | None = None) -> Tensor:
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled("cpu"):
            if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
                padding, stride, dilation, groups = self.settings
                out = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
                return F.relu(out if into is None else out + into)
            x, weight, bias, into = (None if t is None else t.bfloat16() for t in (x, weight, bias, into))  # type: ignore[assignment]
        if into is None:
            found: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *self.settings, "relu", [], "")
            return found
        in_place = torch.ops.mkldnn._convolution_pointwise_.binary
        total: Tensor = in_place(into, x, weight, bias, *self.settings, "add", 1.0, "relu", [], "")
        return total


def folded(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy of a model in evaluation mode for inference alone: each batch norm is folded into its convolution. On a
    CPU so are the sum and the ReLU that follow it; elsewhere a ReLU writes over what nothing else reads.

    `example` is an image (C, H, W) on the model's device. A model that torch.fx cannot follow, or whose folded copy
    does not give the example the same logits but for rounding, is returned as it is.
    """
    from torch.fx.experimental.optimization import fuse

    try:
        fast = fuse(model.eval())
        assert isinstance(fast, torch.fx.GraphModule)
        fold_relus(fast, into_convolutions=example.device.type == "cpu" and torch.backends.mkldnn.is_available())
        with torch.inference_mode():
            logits = model(example[None])
            same = torch.allclose(fast(example[None]), logits, rtol=0, atol=1e-4 * float(logits.abs().max()))
    except Exception:  # whatever the tracing of somebody's model raises
        return model
    return fast if same else model


def fold_relus(net: torch.fx.GraphModule, *, into_convolutions: bool) -> None:
    """Fold a ReLU of a convolution, or of its sum with something, into the convolution; else make it work in place."""
    layers, place = dict(net.named_modules()), {node: number for number, node in enumerate(net.graph.nodes)}
    calls = Counter(node.target for node in net.graph.find_nodes(op="call_module"))

    def layer(node: torch.fx.Node) -> nn.Module | None:
        return layers.get(node.target) if isinstance(node.target, str) and node.op == "call_module" else None

    def takes_a_relu(node: torch.fx.Node) -> bool:
        conv = layer(node)
        alone = calls[node.target] == 1 and len(node.users) == 1
        return into_convolutions and isinstance(conv, nn.Conv2d) and conv.padding_mode == "zeros" and alone

    def free(term: torch.fx.Node, total: torch.fx.Node, conv: torch.fx.Node) -> bool:
        """Whether a term of the sum is a tensor of its own, read by other convolutions before and by nothing else."""
        readers = [reader for reader in term.users if reader is not total]
        known = all(isinstance(layer(reader), (nn.Conv2d, Convolution)) for reader in readers)
        own = isinstance(layer(term), Convolution | nn.Conv2d) or term.target is F.pad
        return own and known and conv not in readers and all(place[reader] < place[total] for reader in readers)

    for relu in list(net.graph.nodes):
        if relu.target is not F.relu and not isinstance(layer(relu), nn.ReLU):
            continue
        [source] = relu.all_input_nodes
        if len(source.users) > 1:
            continue
        terms = source.all_input_nodes if source.target in (operator.add, operator.iadd) else []
        ways = [(conv, [term]) for conv, term in permutations(terms, 2) if free(term, source, conv)]
        ways += [(source, [])]
        conv, into = next(((conv, into) for conv, into in ways if takes_a_relu(conv)), (None, []))
        if conv:
            layers[conv.target] = Convolution(layers[conv.target])
            net.set_submodule(conv.target, layers[conv.target])
            with net.graph.inserting_before(relu):
                step = net.graph.call_module(conv.target, (*conv.all_input_nodes, *into))
            place[step] = place[relu]
            relu.replace_all_uses_with(step)
            for node in dict.fromkeys((relu, source, conv)):
                net.graph.erase_node(node)
        elif relu.target is F.relu and (source.target is operator.add or isinstance(layer(source), nn.Conv2d)):
            relu.kwargs = {"inplace": True}
    net.recompile()
