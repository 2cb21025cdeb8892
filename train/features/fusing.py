"""Convolutions that add their bias, what a shortcut brings, and ReLU as they write: on CUDA, in bfloat16.

A layer of a ResNet is soon computed, and then written and read again for each of these. cuDNN does all of it in one
kernel, and rounds once where it was rounded four times.
"""

import operator
from typing import Any, Final

import torch
from torch import fx, nn
from torch.nn import functional

from train.device import is_out_of_memory

# Of the features' norm. ResNet152's differ by 0.4% from those in float32, as they do where layers come one by one
_TOLERANCE: Final = 0.03
_POISON: Final = 1 << 28  # float32 numbers

_ADDS: Final[set[Any]] = {operator.add, operator.iadd, torch.add}
_RELUS: Final[set[Any]] = {torch.relu, torch.relu_, functional.relu}


class FusedNetwork:
    """`network` with its convolutions fused: pictures (N, 3, H, W), at most `batch` of them → what it says (N, …).

    Batches are filled up to `batch`, where it is not 0: cuDNN chooses its kernels by their size, so that otherwise what
    a picture gives would depend, within bfloat16's roundings, on how many came with it.
    """

    def __init__(self, network: nn.Module, batch: int) -> None:
        """`network` is in eval mode."""
        self.batch = batch
        self._run = network

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """Where memory runs out, the size is halved and that is raised."""
        count = len(pictures)
        filled = functional.pad(pictures, (0, 0, 0, 0, 0, 0, 0, max(0, self.batch - count)))
        try:
            found: torch.Tensor = self._run(filled.contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:
            if is_out_of_memory(error):
                self.batch = self.batch and max(1, self.batch // 2)
            raise
        return found[:count]


def fuse_convolutions(network: nn.Module) -> tuple[int, nn.Module]:
    """How many convolutions could be fused with what follows them, and the network in which they are.

    What follows is read off the network's trace (torch.fx). One that can't be traced stays as it is. Both share their
    tensors.
    """
    try:
        traced = fx.symbolic_trace(network)
    except Exception:  # whatever a forward pass does that depends on its input
        return 0, network
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and type(modules[node.target]) in {nn.Identity, nn.Dropout}:
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    count = 0
    for node in list(traced.graph.nodes):
        if _is_relu(node, modules) and _fuse(traced, node, node.args[0], modules):
            count += 1
    traced.graph.lint()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return count, traced.eval()


def agrees(fused: nn.Module, network: nn.Module, pictures: torch.Tensor) -> bool:
    """Whether both say the same of `pictures`, whatever was in the memory that is written on."""
    with torch.inference_mode():
        expected = network(pictures).float()
        if pictures.is_cuda:
            torch.cuda.empty_cache()
            free = torch.cuda.mem_get_info(pictures.device)[0]
            # What comes next is written where this was: cuDNN is told to leave out what lies there, and has to
            poison = torch.full((min(_POISON, free // 8),), torch.nan, device=pictures.device)
            del poison
        try:
            found = fused(pictures).float()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            return False
        return bool((found - expected).norm() <= _TOLERANCE * expected.norm())


class _Fused(nn.Module):
    """relu(convolution(x)), or relu(convolution(x) + shortcut)."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: torch.Tensor, shortcut: torch.Tensor | None = None) -> torch.Tensor:
        """Pictures (N, C, H, W) → (N, K, H', W'), as is `shortcut`."""
        own = self.convolution
        if not x.is_cuda:
            made: torch.Tensor = own(x)
            return torch.relu(made if shortcut is None else made + shortcut)
        assert not isinstance(own.padding, str)
        bias, stride, padding, dilation, groups = own.bias, own.stride, own.padding, own.dilation, own.groups
        if shortcut is None:
            return torch.cudnn_convolution_relu(x, own.weight, bias, stride, padding, dilation, groups)
        return torch.cudnn_convolution_add_relu(x, own.weight, shortcut, 1.0, bias, stride, padding, dilation, groups)


def _fuse(traced: fx.GraphModule, relu: fx.Node, before: Any, modules: dict[str, nn.Module]) -> bool:
    """Put one module in the place of ReLU and the convolution before it, with or without an addition between them."""
    if not isinstance(before, fx.Node):
        return False
    if _is_fusible(before, modules):
        convolution, others, gone = before, [], [relu, before]
    elif before.target in _ADDS and len(before.users) == 1 and not before.kwargs:
        terms = [one for one in before.args if isinstance(one, fx.Node)]
        there = [one for one in terms if _is_fusible(one, modules)]
        if len(terms) != 2 or terms[0] is terms[1] or not there:
            return False
        convolution = there[-1]
        others, gone = [one for one in terms if one is not convolution], [relu, before, convolution]
    else:
        return False
    name = f"fused_{relu.name}"
    traced.add_submodule(name, _Fused(modules[str(convolution.target)]))  # type: ignore[arg-type]
    with traced.graph.inserting_before(relu):
        made = traced.graph.call_module(name, (convolution.args[0], *others))
    relu.replace_all_uses_with(made)
    for node in gone:
        traced.graph.erase_node(node)
    return True


def _is_fusible(node: Any, modules: dict[str, nn.Module]) -> bool:
    """Whether it is a convolution whose result nobody else sees, and that cuDNN does so."""
    if not isinstance(node, fx.Node) or node.op != "call_module" or len(node.users) != 1 or len(node.args) != 1:
        return False
    module = modules[str(node.target)]
    return (
        type(module) is nn.Conv2d
        and module.bias is not None
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return type(modules[str(node.target)]) is nn.ReLU
    if node.op == "call_method":
        return node.target in {"relu", "relu_"}
    return node.op == "call_function" and node.target in _RELUS
