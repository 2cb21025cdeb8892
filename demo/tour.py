"""The whole way once round, on a drawn garden: draw, scrape, plant faults, clean, split, train, evaluate, predict."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curate.clean import CleanReport, clean
from curate.dataset import open_dataset
from curate.defaults import DEFAULT_SEED
from curate.files.lock import locked
from curate.progress import Progress, silent
from curate.scrape import Scraped
from curate.split import SplitReport, split
from demo.faults import BROKEN, Fault, FaultKind, plant_faults
from demo.garden import Garden, draw_garden
from demo.gathering import gather
from demo.record import DemoRecord
from train.evaluate import Evaluation, evaluate
from train.pictures import draw_held_out
from train.predict import Prediction, Predictor
from train.training import TrainingReport, TrainOptions, train_head

BACKBONE = "efficientnet_lite0"
"""The one whose weights come with its package, so that the tour needs no network."""


@dataclass(frozen=True)
class Tour:
    """What each stage reported, and of each kind of fault how many were planted and found."""

    garden: Garden
    scraping: Scraped
    planted: dict[FaultKind, int]
    found: dict[FaultKind, int]
    wrongly_removed: list[str]
    cleaning: CleanReport
    splitting: SplitReport
    training: TrainingReport
    evaluation: Evaluation
    prediction: Prediction
    true_label: str


def walk(
    folder: Path, *, seed: int = DEFAULT_SEED, views: int = 2, progress: Progress = silent,
    announce: Callable[[str], None] = lambda _text: None,
) -> Tour:  # fmt: skip
    """Go the whole way in `folder`, which is drawn anew: of an earlier demo there, what that wrote is removed first.

    Raises `UserError`, and removes nothing, where it holds anything else.
    """
    record = DemoRecord(folder)
    record.require_nothing_else()  # before a lock is put there
    with locked(folder, f"demo --folder {folder}"):
        record.clear()
        record.begin()
        try:
            return _walk(folder, record, seed, views, progress, announce)
        finally:
            record.end()


def _walk(
    folder: Path, record: DemoRecord, seed: int, views: int, progress: Progress, announce: Callable[[str], None]
) -> Tour:
    announce("Drawing a garden (drawn pictures, not photographs)")
    garden = draw_garden(folder / "web", seed, progress, note=record.note)
    announce("Scraping it from a local web that answers as five picture services do, and planting faults in it")
    scraping = gather(folder / "web", folder, progress)
    faults = plant_faults(folder / "raw", seed, note=record.note)
    announce(f"Cleaning: {len(garden.files):,} drawings and {len(faults)} planted faults")
    cleaning = clean(folder, yes=True, progress=progress)  # the planted faults are over a tenth of a class
    announce("Splitting into train, valid and test")
    splitting = split(folder, seed=seed, ratio=(0.7, 0.15, 0.15), progress=progress)
    announce(f"Training the last layer on {BACKBONE}")
    models = folder / "models"
    training = train_head(folder, TrainOptions(backbone=BACKBONE, views=views, seed=seed, models=models), progress)
    evaluation = evaluate(training.checkpoint, folder, split="test", bank=models / "bank", progress=progress)
    picture, _ = draw_held_out(open_dataset(folder), seed)
    prediction = next(Predictor.from_checkpoint(training.checkpoint).predict_files([picture.path]))
    if not isinstance(prediction, Prediction):
        raise prediction
    found, wrongly = _compare(faults, cleaning)
    return Tour(
        garden=garden,
        scraping=scraping,
        planted=Counter(fault.kind for fault in faults),
        found=found,
        wrongly_removed=wrongly,
        cleaning=cleaning,
        splitting=splitting,
        training=training,
        evaluation=evaluation,
        prediction=prediction,
        true_label=picture.label,
    )


def _compare(faults: list[Fault], cleaning: CleanReport) -> tuple[dict[FaultKind, int], list[str]]:
    """How many faults of each kind the plan names for what they are, and which intact drawings it removes for nothing.

    Of a drawing and its copy one has to leave, whichever; of one picture under two labels, both.
    """
    reason = {decision.path.removeprefix("raw/"): decision.reason for decision in cleaning.plan.decisions}
    found: dict[FaultKind, int] = Counter()
    explained = set()
    for fault in faults:
        members = [fault.path] if fault.of is None or fault.kind in BROKEN else [fault.path, fault.of]
        explained.update(members)
        wanted = "broken" if fault.kind in BROKEN else "conflict" if fault.kind is FaultKind.TWO_LABELS else "duplicate"
        found[fault.kind] += any(reason.get(member) == wanted for member in members)
    return found, sorted(reason.keys() - explained)
