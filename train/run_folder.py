"""The folder of a run: its recipe, a log, the curves, and TensorBoard's event files where they are asked for.

`runs/<time>_<recipe>/` holds `recipe.toml`, which `train --recipe` takes again; `log.jsonl`, one JSON object a line,
whole lines whenever the run dies; `curves.csv`, one line an epoch; and at the end `curves.png`, the same to look at.
"""

import csv
import errno
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from curate.defaults import DEFAULT_RUNS
from curate.errors import UserError
from curate.extras import not_installed
from curate.files.atomic import write_whole
from curate.files.reading import read_file
from curate.progress import Progress, silent
from curate.rendering import save_drawing
from train.curves_plot import plot_curves
from train.device import resolve_device
from train.metrics import Accuracy
from train.optimising.distributed import Processes, joined_processes
from train.optimising.fitting import Epoch
from train.options import AugmentationSettings, LearningOptions
from train.recipe import Recipe, load_recipe
from train.recipe_text import recipe_text
from train.run import train_recipe
from train.training import TrainingReport, TrainOptions, versions

_CURVES = [field.name for field in fields(Epoch)]
_LARGEST_LOG: Final = 1 << 28  # bytes
_NO_CONFUSION: Final = np.zeros((0, 0), dtype=np.int64)  # a log has none


class RunFolder:
    """One run's folder, written while the run goes on.

    Where it can't be written any more, on a full disk say, `failed` says so and nothing more is written: hours of
    training are not given up for their story.
    """

    def __init__(self, folder: Path, *, tensorboard: bool = False) -> None:
        self.folder = folder
        self.failed: str | None = None
        self._started = time.perf_counter()
        self._epochs: list[Epoch] = []
        # First: without the package nothing shall be left that looks like a run
        self._events = _event_writer(folder) if tensorboard else None

    @classmethod
    def begin(cls, runs: Path, recipe: Recipe, *, tensorboard: bool = False) -> Self:
        """Make `<runs>/<time>_<recipe>/`, the first such name that is free, with the recipe in it; UserError if not."""
        if tensorboard:
            _require_tensorboard()
        stem = f"{datetime.now().astimezone():%Y-%m-%d_%H-%M-%S}_{recipe.name}"
        for number in count(1):
            folder = runs / (stem if number == 1 else f"{stem}_{number}")
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                if not runs.is_dir():
                    raise UserError(f"{runs} is a file: give --runs a folder.") from None
            except OSError as error:
                raise UserError(
                    f"The folder {folder} can't be made ({error.strerror}): give --runs another."
                ) from error
        try:
            opening = [f"# The recipe {recipe.name}, with every option as it was in this run."]
            write_whole(folder / "recipe.toml", recipe_text(recipe, opening))
        except OSError as error:
            with suppress(OSError):
                folder.rmdir()  # a run that never began leaves nothing that looks like one
            raise UserError(
                f"The folder {folder} can't be written ({error.strerror}): check the disk's free space, or give --runs "
                f"another."
            ) from error
        return cls(folder, tensorboard=tensorboard)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            stopped = isinstance(error, KeyboardInterrupt)
            self.log("stopped" if stopped else "failed", reason=f"{type(error).__name__}: {error}")
        if self._events is not None:
            with self._noting_failure():
                self._events.close()
        if error is not None and not self._epochs:
            self._remove()

    def _remove(self) -> None:
        """Take away what this run wrote: one that ended before its first epoch has no story."""
        with suppress(OSError):
            for file in self.folder.iterdir():
                if file.name in {"recipe.toml", "log.jsonl"} or file.name.startswith("events.out.tfevents."):
                    file.unlink()
            self.folder.rmdir()

    def log(self, event: str, **facts: Any) -> None:
        """Add one line: what happened, when, how long after the start, and `facts` in plain types."""
        line = {
            "event": event,
            "at": datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "seconds": round(time.perf_counter() - self._started, 3),
            **facts,
        }
        self._append("log.jsonl", json.dumps(line, ensure_ascii=False) + "\n")

    def epoch(self, epoch: Epoch) -> None:
        """Add one epoch to the log, to the curves and to the events."""
        figures = asdict(epoch)
        self._epochs.append(epoch)
        self.log("epoch", **figures)
        if not (self.folder / "curves.csv").exists():
            self._append("curves.csv", ",".join(_CURVES) + "\n")
        self._append("curves.csv", ",".join("" if (v := figures[name]) is None else repr(v) for name in _CURVES) + "\n")
        if self._events is not None and self.failed is None:
            with self._noting_failure():
                for name, tag in _TAGS.items():
                    if figures[name] is not None:
                        self._events.add_scalar(tag, figures[name], epoch.number)
                self._events.flush()

    def draw_curves(self) -> None:
        """Write `curves.png` from the epochs that this run has gone through."""
        if self.failed is None:
            try:
                save_drawing(plot_curves(self._epochs), self.folder / "curves.png")
            except UserError as error:
                self.failed = str(error)

    def _append(self, name: str, text: str) -> None:
        """One write of whole lines, so that neither a kill nor a full disk leaves half a line before another."""
        if self.failed is not None:
            return
        data = text.encode("utf-8", "backslashreplace")
        with self._noting_failure():
            handle = os.open(self.folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                before = os.fstat(handle).st_size
                if os.write(handle, data) < len(data):
                    os.ftruncate(handle, before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(handle)

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failed = self.failed or (
                f"The story of this run could not be written into {self.folder} to its end ({error.strerror})."
            )


def train_in_folder(
    root: Path,
    options: TrainOptions,
    recipe: Recipe,
    *,
    runs: Path = DEFAULT_RUNS,
    tensorboard: bool = False,
    progress: Progress = silent,
    processes: Processes | None = None,
) -> tuple[TrainingReport, Path | None]:
    """`train_recipe`, with a folder that tells its story; the folder is None in all processes but the first."""
    with nullcontext(processes) if processes else joined_processes(resolve_device(options.device)) as joined:
        if not joined.first:
            return train_recipe(root, options, silent, joined), None
        with RunFolder.begin(runs, recipe_as_run(recipe, options), tensorboard=tensorboard) as run:
            run.log("started", data=str(root), options=_plain(options), versions=versions())
            report = train_recipe(root, replace(options, watch=_both(run.epoch, options.watch)), progress, joined)
            run.log("finished", **_facts(report))
            run.draw_curves()
        return replace(report, notes=report.notes + ([run.failed] if run.failed else [])), run.folder


def _both(first: Callable[[Epoch], None], second: Callable[[Epoch], None] | None) -> Callable[[Epoch], None]:
    def watch(epoch: Epoch) -> None:
        first(epoch)
        if second is not None:
            second(epoch)

    return watch


@dataclass(frozen=True)
class RunStory:
    """What a run's folder tells: the table of runs has a line for each."""

    folder: Path
    recipe: str
    data: str
    changes: dict[str, Any]  # options that were not as in the recipe
    epochs: int
    state: str  # "finished", "failed", "stopped", or "unfinished": killed, or still at work
    valid: Accuracy | None
    checkpoint: str


def list_runs(runs: Path) -> list[RunStory]:
    """The runs below a folder, oldest first; what holds no log of a run is passed over."""
    try:
        folders = sorted(folder for folder in runs.iterdir() if folder.is_dir())
    except OSError:
        return []
    return [story for folder in folders if (story := _story(folder)) is not None]


def _story(folder: Path) -> RunStory | None:
    try:
        lines = [json.loads(line) for line in read_file(folder / "log.jsonl", _LARGEST_LOG).splitlines()]
        events = {str(line["event"]): line for line in lines}
        started, finished = events["started"], events.get("finished", {})
        valid = finished.get("valid")
        return RunStory(
            folder=folder,
            recipe=str(started["options"]["recipe"]),
            data=str(started["data"]),
            changes=_changes(folder / "recipe.toml", str(started["options"]["recipe"])),
            epochs=max((int(line["number"]) for line in lines if line["event"] == "epoch"), default=0),
            state=next((end for end in ("finished", "failed", "stopped") if end in events), "unfinished"),
            valid=Accuracy(valid["n"], valid["correct"], valid["correct_top5"], _NO_CONFUSION) if valid else None,
            checkpoint=str(finished.get("checkpoint", "")),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _changes(file: Path, recipe: str) -> dict[str, Any]:
    """Options of the recipe in a run's folder that are not as in the recipe of that name; {} where none is told."""
    try:
        told, plain = load_recipe(file).to_dict(), load_recipe(recipe).to_dict()
    except UserError:
        return {}
    return {key: value for key, value in told.items() if value != plain[key]}


def recipe_as_run(recipe: Recipe, options: TrainOptions) -> Recipe:
    """The recipe with what a budget or a sweep has put in its options' place."""
    augmentation = AugmentationSettings(**options.augmentation.to_dict())
    own = {"weights": str(options.weights), "augmentation": augmentation, "seed": recipe.options.seed}
    return replace(recipe, options=LearningOptions(**{**options.learning(), **own}))


def read_curves(folder: Path) -> list[Mapping[str, str]]:
    """The epochs of a run as its `curves.csv` has them."""
    with (folder / "curves.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


_TAGS = {
    "loss": "loss/train",
    "plain_loss": "loss/train, plain",
    "valid_loss": "loss/valid",
    "train_accuracy": "accuracy/train",
    "valid_accuracy": "accuracy/valid",
    "learning_rate": "learning_rate",
}


def _plain(options: TrainOptions) -> dict[str, Any]:
    found = {field.name: getattr(options, field.name) for field in fields(options) if field.name != "watch"}
    plain = {name: asdict(value) if hasattr(value, "__dataclass_fields__") else value for name, value in found.items()}
    return {
        name: value if isinstance(value, bool | int | float | str | dict | None) else str(value)
        for name, value in plain.items()
    }


def _facts(report: TrainingReport) -> dict[str, Any]:
    accuracy = report.valid.to_dict()
    del accuracy["confusion"]
    return {
        "checkpoint": str(report.checkpoint),
        "valid": accuracy,
        "train_pictures": report.train_pictures,
        "valid_pictures": report.valid_pictures,
        "asked_views": report.asked_views,
        "views_gain": report.views_gain.facts() if report.views_gain else None,
        "answer_seconds": report.answer_seconds,
        "broken": [broken.path for broken in report.broken],
        "notes": report.notes,
        "parts": {part: round(spent, 3) for part, spent in report.seconds.items()},
    }


def _require_tensorboard() -> None:
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        otherwise = "leave --tensorboard out and read curves.csv"
        raise not_installed("Event files need", "tensorboard", "tensorboard", otherwise) from error


def _event_writer(folder: Path) -> Any:
    _require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(log_dir=str(folder))
