"""A trained classifier as an object: measured, asked, and exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

from commands import training_reports
from commands.console import onto, say
from curate.defaults import DEFAULT_DEVICE, DEFAULT_MODELS, DEFAULT_TOP_K
from curate.errors import UserError
from curate.image import BrokenImage
from curate.printable import printable
from florilegium.arguments import checked
from florilegium.page import HtmlPage
from florilegium.progress import AUTO, chosen
from florilegium.results import Result
from train.checkpoint import Checkpoint, load_checkpoint
from train.evaluate import Evaluation
from train.export import ModelExportReport
from train.optimising.fitting import Epoch
from train.predict import Prediction
from train.prediction_plot import MOST, LabelledPrediction, plot_predictions

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from florilegium.dataset import Dataset
    from florilegium.progress import Watch
    from train.metrics import Accuracy
    from train.predict import Predictor
    from train.training import TrainingReport

_MOST_NAMES = 40  # of classes, drawn in a notebook


class Model:
    """A checkpoint, ready to be measured and asked. In a notebook it draws its figures and its curves.

    `path` is its file; `training` what `Dataset.train` reported, and `run` the folder of that run's story, both None
    for a checkpoint that was opened by `load`.
    """

    @checked
    def __init__(
        self,
        path: str | Path,
        *,
        dataset: Path | None = None,
        device: str = DEFAULT_DEVICE,
        training: TrainingReport | None = None,
        run: Path | None = None,
    ) -> None:
        """Raises `UserError` for a file that is missing, damaged or no checkpoint of ours."""
        self.path = Path(path)
        self.training = training
        self.run = run
        self._device = device
        self._dataset = dataset
        self._checkpoint: Checkpoint = load_checkpoint(self.path)
        self._predictors: dict[tuple[str, int, float | None], Predictor] = {}

    @property
    def labels(self) -> list[str]:
        """Class folders in the order of the answers, (classes,)."""
        return list(self._checkpoint.labels)

    @property
    def names(self) -> list[str]:
        """What the classes are called, in the order of `labels`."""
        return list(self._checkpoint.names)

    @property
    def valid(self) -> Accuracy:
        """How often it was right on valid when it was trained; selection was made on it, so `evaluate` on test."""
        return self._checkpoint.metrics["valid"]

    @property
    def history(self) -> list[Epoch]:
        """Each epoch's loss, accuracies (shares, 0 to 1) and learning rate."""
        return [Epoch(**epoch) for epoch in self._checkpoint.history]

    @checked
    def evaluate(
        self,
        dataset: Dataset | str | Path | None = None,
        *,
        split: str | None = None,
        views: int | None = None,
        abstain: float | None = None,
        device: str | None = None,
        progress: Watch = AUTO,
    ) -> EvaluationResult:
        """Measure on one split of a dataset: by default of the one it was trained on in this session, on test or, where
        there is none, on valid; of a folder that is not split on all pictures.

        The probabilities are the mean over `views` of each picture, by default as many as the checkpoint answers from.
        `abstain` is a precision, such as 0.98: the answers less sure than the threshold that reached it on valid are
        counted as none. Each look at test is noted beside the checkpoint. Features are kept in `bank/` beside the
        checkpoint. Raises `UserError` where the split is missing or has a class that the checkpoint lacks.
        """
        from train.evaluate import evaluate

        report = evaluate(
            self.path, self._root_of(dataset), split=split, device=device or self._device,
            bank=self.path.parent / "bank", views=views, abstain=abstain, progress=chosen(progress),
        )  # fmt: skip
        return EvaluationResult.of(report)

    @checked
    def predict(
        self,
        *pictures: str | Path,
        top_k: int = DEFAULT_TOP_K,
        views: int | None = None,
        abstain: float | None = None,
        device: str | None = None,
    ) -> Predictions:
        """Name what is in pictures: one answer for each file, in order; of a folder, for each picture below it.

        An answer has its `top_k` likeliest classes with their probabilities, 0 to 1; one for a file that gives no
        pixels is a `BrokenImage`, which says why. `views` and `abstain` as in `evaluate`. Raises `UserError` where no
        picture is named, and for a folder that holds none.
        """
        from train.inputs import expand

        if not pictures or "" in pictures:
            raise UserError("No picture was named: give files or folders, such as model.predict('rose.jpg').")
        if any(not isinstance(one, (str, Path)) for one in pictures):
            raise UserError("Give pictures one by one, as paths, such as model.predict('a.jpg', 'b.jpg') or (*files).")
        predictor = self._predictor(device, views, abstain)
        files = expand(pictures, lines=())  # "-", a command line's word for standard input, names no file here
        return Predictions(list(predictor.predict_files(files, top_k=top_k)))

    @checked
    def predict_random(
        self, dataset: Dataset | str | Path | None = None, *, seed: int | None = None, top_k: int = DEFAULT_TOP_K
    ) -> Predictions:
        """Predict one picture drawn from test or, where there is none, from valid; its true class stands beside it.

        The same `seed` draws the same picture. Raises `UserError` where no split is held out, or where it has
        classes that this model lacks.
        """
        from curate.splitting.since_split import open_current_split
        from train.evaluate import require_answers_for_split
        from train.pictures import draw_held_out, spelt_as

        opened = open_current_split(self._root_of(dataset))
        picture, split = draw_held_out(opened, seed)
        require_answers_for_split(self.path, self._checkpoint, opened, split)
        (picture,) = spelt_as(self._checkpoint.labels, [picture])
        (found,) = self._predictor(None, None, None).predict_files([picture.path], top_k=top_k)
        return Predictions([found], [(picture.label, self._checkpoint.name_of(picture.label))])

    @checked
    def probabilities(self, images: Sequence[Image.Image], *, device: str | None = None) -> NDArray[np.float32]:
        """Probabilities of decoded RGB pictures in memory: (len(images), classes), each row sums to 1.

        They are the mean of as many views as the checkpoint answers from.

        Raises `UserError` for a picture of another mode or without pixels, and for a device that this machine has not.
        """
        for at, image in enumerate(images):
            _require_pixels(image, at)
        return self._predictor(device, None, None).probabilities(images)

    @checked
    def export(
        self,
        format: str = "onnx",  # noqa: A002  (it is what the command line's option is called)
        *,
        dataset: Dataset | str | Path | None = None,
        out: str | Path | None = None,
        force: bool = False,
        progress: Watch = AUTO,
    ) -> ModelExportResult:
        """Write the checkpoint as onnx, torchscript, pt2 or safetensors, beside it or into `out`, with a JSON of how.

        The file is read back and compared on pictures of valid before it is kept. `force` replaces a file that was
        not written so. Raises `UserError` where any probability is off by more than 1e-4, for a format that there is
        not, and where a package is missing.
        """
        from curate.splitting.since_split import open_current_split
        from train.export import export
        from train.pictures import labelled_pictures

        pictures = [picture.path for picture in labelled_pictures(open_current_split(self._root_of(dataset)), "valid")]
        report = export(
            self.path, format, pictures, out=None if out is None else Path(out), force=force, progress=chosen(progress)
        )
        return ModelExportResult.of(report)

    def _root_of(self, dataset: Dataset | str | Path | None) -> Path:
        from florilegium.dataset import Dataset

        if isinstance(dataset, Dataset):
            return dataset.split_root
        if dataset is not None:
            return Path(dataset)
        if self._dataset is None:
            raise UserError(f"{self.path} was not trained in this session: say which dataset is meant.")
        return self._dataset

    def _predictor(self, device: str | None, views: int | None, abstain: float | None) -> Predictor:
        from train.predict import Predictor

        key = (device or self._device, self._checkpoint.views_for(views), abstain)
        if key not in self._predictors:
            self._predictors[key] = Predictor(self._checkpoint, key[0], views=key[1], abstain=abstain)
        return self._predictors[key]

    @property
    def _summary(self) -> str:
        names = " + ".join(backbone.name for backbone in self._checkpoint.backbones)
        valid = training_reports.accuracy_in_words(self.valid)
        views = training_reports.from_views(self._checkpoint.asked_views)
        return f"{names}, {len(self.labels):,} classes, on valid {valid}{views}"

    def __repr__(self) -> str:
        return printable(f"Model({str(self.path)!r}): {self._summary}")

    def _repr_html_(self) -> str:
        from train.curves_plot import plot_curves

        page = HtmlPage()
        page.say(f"{self.path}: {self._summary}.")
        more = ", …" if len(self.names) > _MOST_NAMES else ""
        page.say(f"Classes: {', '.join(self.names[:_MOST_NAMES])}{more}")
        if self.training is not None:
            with onto(page):
                training_reports.training(self.training)
        if self.history:
            page.draw(plot_curves(self.history), "Loss and accuracy of each epoch")
        return page.html


@checked
def load(checkpoint: str | Path = DEFAULT_MODELS, *, device: str = DEFAULT_DEVICE) -> Model:
    """Open a checkpoint or, of a folder, the best of those that were measured on the pictures that the newest was.

    Needs the file alone: no network, no code from the file. `device` is auto, cpu, cuda or mps. Raises `UserError`
    for a file that is missing, damaged or no checkpoint of ours, and for a folder without one.
    """
    from train.checkpoint_choice import best_checkpoint

    path = Path(checkpoint)
    return Model(best_checkpoint(path) if path.is_dir() else path, device=device)


@dataclass(frozen=True, repr=False)
class EvaluationResult(Result, Evaluation):
    """How often a model is right on a split, of each class and in all; see `train.evaluate.Evaluation`.

    `probabilities` are (pictures, classes), `truth` class indices (pictures,).
    """

    @property
    def summary(self) -> str:
        """The accuracy, with n and its 95% interval."""
        return f"On {self.split}: {training_reports.accuracy_in_words(self.accuracy)}."

    def report(self) -> None:
        """Say each class's figures, what is taken for what, and how far confidence can be trusted."""
        training_reports.evaluation(self)


@dataclass(frozen=True, repr=False)
class ModelExportResult(Result, ModelExportReport):
    """The file that was written, and how close its probabilities come to the checkpoint's."""

    @property
    def summary(self) -> str:
        """The file, and the largest difference of any probability."""
        return (
            f"{self.file} and {self.beside}; on {self.pictures:,} pictures its probabilities differ from the "
            f"checkpoint's by {self.largest_difference:.1e} at most."
        )

    def report(self) -> None:
        """Say how many pictures have the same first answer."""
        say(f"Same first answers: {self.same_answers:,} of {self.pictures:,}.")
        if self.remark:
            say(f"Note: {self.remark}")


class Predictions(Sequence[Prediction | BrokenImage]):
    """One answer for each picture, in order. In a notebook each picture stands beside its likeliest classes."""

    def __init__(
        self, answers: Sequence[Prediction | BrokenImage], truth: Sequence[tuple[str, str]] | None = None
    ) -> None:
        """`truth` are (class folder, name) of each picture, where they are known."""
        self._answers = list(answers)
        self.truth = None if truth is None else list(truth)

    @overload
    def __getitem__(self, at: int) -> Prediction | BrokenImage: ...
    @overload
    def __getitem__(self, at: slice) -> Predictions: ...
    def __getitem__(self, at: int | slice) -> Prediction | BrokenImage | Predictions:
        if isinstance(at, slice):
            return Predictions(self._answers[at], None if self.truth is None else self.truth[at])
        return self._answers[at]

    def __len__(self) -> int:
        return len(self._answers)

    def __iter__(self) -> Iterator[Prediction | BrokenImage]:
        return iter(self._answers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Predictions) and (self._answers, self.truth) == (other._answers, other.truth)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "\n".join(_line(answer) for answer in self._answers)

    def _repr_html_(self) -> str:
        page = HtmlPage()
        truths: Sequence[tuple[str | None, str]] = self.truth or [(None, "")] * len(self)
        drawn = [
            LabelledPrediction(answer, label, name)
            for answer, (label, name) in zip(self._answers, truths, strict=True)
            if isinstance(answer, Prediction)
        ]
        for answer in self._answers[:MOST]:
            page.say(_line(answer))
        if len(self) > MOST:
            page.say(f"… and {len(self) - MOST:,} more.")
        if drawn:
            page.draw(plot_predictions(drawn), "Pictures, and beside each its likeliest classes")
        return page.html


def _require_pixels(image: Image.Image, at: int) -> None:
    """Raise `UserError` for a picture that a network cannot be shown."""
    if image.mode != "RGB":
        raise UserError(f"Picture {at} is of mode {image.mode}, not RGB: convert it, or give its file to `predict`.")
    try:
        image.load()
    except Exception as error:  # what Pillow raises of a file that is cut off depends on its format
        raise UserError(f"Picture {at} gives no pixels ({error}): give another.") from error
    if not all(image.size):
        raise UserError(f"Picture {at} has no pixels, {image.width} × {image.height}: give another.")


def _line(answer: Prediction | BrokenImage) -> str:
    if isinstance(answer, BrokenImage):
        return printable(f"{answer.path}: {answer.reason}")
    guess = answer.guesses[0]
    return printable(
        f"{answer.path}: {guess.name}, {guess.probability:.1%}"
        + ("" if answer.sure else "; not sure")
        + ("; like none of the classes" if answer.is_stranger else "")
    )
