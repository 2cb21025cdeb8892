"""The learning rate over a run: a warm-up, then a cosine, a plateau's falls, an exponential, or no change."""

import math
from typing import Any

from train.optimising.settings import FitSettings


class Schedule:
    """The factor on every group's learning rate at each step; what it remembers goes into `state_dict`."""

    def __init__(self, settings: FitSettings, steps_an_epoch: int, steps: int) -> None:
        self.settings = settings
        self.steps_an_epoch = steps_an_epoch
        self.steps = steps
        self._warmup = min(steps, round(settings.warmup * steps_an_epoch))
        self._lowest = math.inf  # valid loss so far
        self._waited = 0
        self._fallen = 1.0

    def factor(self, step: int) -> float:
        """Factor for step 0, 1, …: rises over the warm-up, so that its last step has the full rate."""
        if step < self._warmup:
            return (step + 1) / self._warmup
        if self.settings.schedule == "cosine":
            left = max(1, self.steps - self._warmup)
            return 0.5 * (1 + math.cos(math.pi * min(step - self._warmup, left) / left))
        if self.settings.schedule == "exponential":
            return float(self.settings.decay ** ((step - self._warmup) / self.steps_an_epoch))
        return self._fallen

    def end_epoch(self, valid_loss: float | None) -> None:
        """Tell the plateau schedule how the epoch ended; without a valid split it never falls."""
        if self.settings.schedule != "plateau" or valid_loss is None:
            return
        if valid_loss < self._lowest * (1 - 1e-4):
            self._lowest, self._waited = valid_loss, 0
            return
        self._waited += 1
        if self._waited > self.settings.patience:
            self._fallen, self._waited = self._fallen * self.settings.factor, 0

    def state_dict(self) -> dict[str, Any]:
        """Plain types alone."""
        return {"lowest": self._lowest, "waited": self._waited, "fallen": self._fallen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Read what `state_dict` gave."""
        self._lowest, self._waited = float(state["lowest"]), int(state["waited"])
        self._fallen = float(state["fallen"])
