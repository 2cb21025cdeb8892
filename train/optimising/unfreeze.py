"""Which part of a network trains: its last stages, all from a module on, or the whole; the rest stays as it is."""

import difflib
import re
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from curate.errors import UserError

# A child that holds nearly all of a network is no stage but a box of them: EfficientNet's `features`, a ViT's `blocks`
_BOX = 0.85

_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)


@dataclass(frozen=True)
class Stage:
    """A part of a network that computes after the one before it."""

    name: str  # of its module
    parameters: list[nn.Parameter]


def stages_of(network: nn.Module) -> list[Stage]:
    """The network in stages, from its input to its output, in the order in which it registers them.

    Children with parameters, where a child that holds nearly all of them is opened in its turn, and a normalisation
    goes with the child before it. Parameters that belong to no child count to the first stage. Raises UserError for a
    network without parameters.
    """
    parts = _opened("", network)
    if not parts:
        raise UserError("The network has no parameters, so there is nothing to unfreeze.")
    stages: list[Stage] = []
    for name, part in parts:
        # A norm alone computes nothing: it belongs to what it normalises
        if stages and isinstance(part, _NORMS):
            stages[-1].parameters.extend(part.parameters())
        else:
            stages.append(Stage(name, list(part.parameters())))
    known = {id(parameter) for stage in stages for parameter in stage.parameters}
    stages[0].parameters[:0] = [one for one in network.parameters() if id(one) not in known]
    return stages


def unfreeze(network: nn.Module, what: int | str) -> list[Stage]:
    """Let a part of `network` take gradients, and return its stages, the first of which may be a part of one.

    `what` is "all", a number of last stages, or the name of a module such as "layer3": it trains, and all after it.
    Raises UserError for a number or a name that the network does not have.
    """
    stages = stages_of(network)
    first = _first_parameter(network, stages, what)
    moving = False
    for name, parameter in network.named_parameters():
        moving = moving or name == first
        parameter.requires_grad_(moving)
    chosen = [Stage(one.name, [each for each in one.parameters if each.requires_grad]) for one in stages]
    return [stage for stage in chosen if stage.parameters]


def set_train_mode(network: nn.Module, *, keep_statistics: bool = False) -> None:
    """Train mode for what is unfrozen; what is frozen stays in eval mode, so its batch-norm and dropout do nothing new.

    A module without parameters, such as dropout, trains once something before it does. With `keep_statistics` every
    batch-norm normalises by the statistics that it has, and its scale and shift alone train.
    """
    begun = False
    for module in network.modules():
        parameters = list(module.parameters())
        module.training = all(one.requires_grad for one in parameters) if parameters else begun
        begun = begun or any(one.requires_grad for one in module.parameters(recurse=False))
        if keep_statistics and isinstance(module, _BatchNorm):
            module.training = False


def _opened(prefix: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    children = [(name, child) for name, child in module.named_children() if _size(child)]
    if not children:
        return [(prefix.rstrip("."), module)] if _size(module) else []
    whole = sum(_size(child) for _, child in children)
    parts: list[tuple[str, nn.Module]] = []
    for name, child in children:
        box = _size(child) >= _BOX * whole and list(child.children())
        parts += _opened(f"{prefix}{name}.", child) if box else [(f"{prefix}{name}", child)]
    return parts


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _first_parameter(network: nn.Module, stages: list[Stage], what: int | str) -> str:
    names = [name for name, _ in network.named_parameters()]
    if what == "all":
        return names[0]
    if isinstance(what, str) and not re.fullmatch("[0-9]{1,9}", what):
        within = [name for name in names if name.startswith(f"{what}.")]
        if within:
            return within[0]
        known = [name for name, module in network.named_modules() if name and _size(module)]
        nearest = difflib.get_close_matches(what, known, n=1, cutoff=0.6)
        hint = f": did you mean {nearest[0]}? " if nearest else ". "
        raise UserError(
            f"The network has no part called {what!r} to unfreeze{hint}"
            f"Its stages are {', '.join(stage.name for stage in stages)}."
        )
    if not 1 <= int(what) <= len(stages):
        raise UserError(
            f"--unfreeze {what} asks for more or fewer stages than there are: 1 to {len(stages)} "
            f"({', '.join(stage.name for stage in stages)}), or all."
        )
    if int(what) == len(stages):
        return names[0]
    return next(name for name in names if name.startswith(f"{stages[-int(what)].name}."))
