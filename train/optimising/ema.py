"""The moving average of weights: often better than the last ones, and always calmer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch


class WeightAverage:
    """Exponential moving average of `parameters`, kept in float32 beside them.

    The decay starts low, min(decay, (1 + n) / (10 + n)) after n steps, so that a short run is not an average with
    its own first values (as TensorFlow's ExponentialMovingAverage does).
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self._steps = 0
        self._means = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        self._steps += 1
        decay = min(self.decay, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(self._means, [parameter.detach() for parameter in self.parameters], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block, the parameters hold the average."""
        live = [parameter.detach().clone() for parameter in self.parameters]
        self.copy_into_parameters()
        try:
            yield
        finally:
            _copy(live, self.parameters)

    def copy_into_parameters(self) -> None:
        """For good."""
        _copy(self._means, self.parameters)

    def replace(self, old: torch.nn.Parameter, new: torch.nn.Parameter, mean: torch.Tensor) -> None:
        """Go on with `new` in the place of `old`, from `mean`, of its shape."""
        at = next(number for number, one in enumerate(self.parameters) if one is old)
        self.parameters[at], self._means[at] = new, mean.detach().clone()

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain types alone."""
        return {"steps": self._steps, "means": [mean.cpu() for mean in self._means]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Read what `state_dict` gave."""
        self._steps = int(state["steps"])
        _copy(state["means"], self._means)


@torch.no_grad()
def _copy(values: Sequence[torch.Tensor], into: Sequence[torch.Tensor]) -> None:
    for value, target in zip(values, into, strict=True):
        target.copy_(value)
