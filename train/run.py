"""From a recipe to a checkpoint: on the bank where the network stays frozen, picture by picture where it does not."""

import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from curate.defaults import DEFAULT_DEVICE, DEFAULT_MODELS, DEFAULT_SEED
from curate.progress import Progress, silent
from train.device import resolve_device
from train.features.augmentation import Augmentation
from train.finetune import train_network
from train.optimising.distributed import Processes, joined_processes
from train.recipe import Recipe
from train.training import TrainingReport, TrainOptions, train_head


def options_of(
    recipe: Recipe,
    *,
    seed: int = DEFAULT_SEED,
    models: Path = DEFAULT_MODELS,
    device: str = DEFAULT_DEVICE,
    names: Mapping[str, str] | None = None,
) -> TrainOptions:
    """What `train_recipe` needs to know, from a recipe and what no recipe says."""
    augmentation = Augmentation(**recipe.options.augmentation.to_dict())
    learning = {**recipe.options.learning(), "augmentation": augmentation, "seed": seed}
    return TrainOptions(
        **learning,
        models=models,
        device=device,
        names=names or {},
        recipe=recipe.name,
        asked=recipe.asked,
        authors_kept=recipe.authors_kept,
    )


def train_recipe(
    root: Path, options: TrainOptions, progress: Progress = silent, processes: Processes | None = None
) -> TrainingReport:
    """Train on `root` as `options` say, alone or as one of the processes that `torchrun` started.

    Those are joined here, unless they have been and are given.

    Every process returns the same report; the first alone writes and shows progress. Raises UserError as
    `train_head` and `train_network` do.
    """
    work = train_head if options.tuning.frozen else train_network
    with nullcontext(processes) if processes else joined_processes(resolve_device(options.device)) as joined:
        return work(root, options, progress if joined.first else silent, joined)


def is_first_process() -> bool:
    """Whether this process is to print: it is the only one, or the first of those that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"
