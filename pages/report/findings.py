"""What a report tells: each stage asked by the function that its own command uses, and nothing computed twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from curate.catalog import Catalog, Picture
from curate.catalog.class_moves import ClassMove, class_moves_done
from curate.catalog.credits import FIELDS, Credit, author_pages, first_credits
from curate.catalog.placements import placed_elsewhere
from curate.catalog.quarantine_moves import records_done
from curate.clean import CleanReport, catalog_to_look, find_to_clean
from curate.cleaning.audit_scores import AUDIT_FILE, AuditedPicture, read_scores
from curate.cleaning.audit_tally import AuditTally, kept_by_people, tally_audit
from curate.cleaning.placed_copies import part_placements
from curate.cleaning.plan import PlanLine, read_plan
from curate.companions import COMPANION_OF, is_picture
from curate.counts import count_files
from curate.credits import licences_of, recorded_names
from curate.dataset import Dataset, open_dataset, still_there
from curate.decisions import Answers
from curate.defaults import DEFAULT_DEVICE
from curate.errors import UserError
from curate.names import names_for
from curate.progress import Progress, silent
from curate.quarantine import stored_files
from curate.scraping.yield_report import Yield, yields_on_record
from curate.splitting.whereabouts import dataset_split_into, split_folder
from curate.verify import VerifyReport, verify
from train.audit import PLAN_FILE
from train.checkpoint import Checkpoint, load_checkpoint
from train.evaluate import SplitFigures, evaluate
from train.evaluation_files import PictureAnswer, answers_of, read_evaluation
from train.test_log import Opening, content_of, read_openings

_CONFLICT: Final = "conflict"


@dataclass(frozen=True)
class SetAsidePicture:
    """One picture in the quarantine, which lay at `path`; `counterpart` is whose copy it is, "" for none."""

    file: Path
    path: str
    label: str
    sha256: str
    reason: str
    detail: str
    counterpart: str


@dataclass(frozen=True)
class AuditOnRecord:
    """What the last audit wrote, and where; `plan` is None where its plan is not there."""

    file: Path
    pictures: list[AuditedPicture]
    tally: AuditTally
    stale: int  # of the pictures: they are gone, changed, or in another class by now
    plan_file: Path
    plan: list[PlanLine] | None
    kept: frozenset[str]  # the paths of suspects that stay because a person decided so


@dataclass(frozen=True)
class ModelStory:
    """A checkpoint, and what it says of each picture of one split. `why_not` says why nothing was measured, else "".

    `source` names where the figures come from: "" for those that were computed just now.
    """

    path: Path
    checkpoint: Checkpoint | None
    openings: list[Opening]
    figures: SplitFigures | None
    answers: list[PictureAnswer]
    source: str = ""
    why_not: str = ""


@dataclass(frozen=True)
class ReportFindings:
    """All that a report is made of.

    `counts` is label → split → files, with the split's own where that lies in `split_root`, another folder. `licences`
    are (source, licence, pictures). `pictures` are the catalog's rows of what is there, and `digests` the sha256 of
    each file by its absolute path; `credits` are by sha256. `model` is None where `without_model` says why.
    """

    root: Path
    dataset: Dataset
    split_root: Path | None
    names: Mapping[str, str]
    counts: dict[str, dict[str, int]]
    yields: list[Yield]
    licences: list[tuple[str, str, int]]
    cleaning: CleanReport
    set_aside: list[SetAsidePicture]
    relabelled: list[ClassMove]
    pictures: list[Picture]
    digests: Mapping[str, str]
    credits: Mapping[str, Credit]
    audit: AuditOnRecord | None
    verified: VerifyReport
    model: ModelStory | None = None
    without_model: str = ""

    @property
    def different(self) -> int:
        """How many contents there are: what lies in raw and is placed in a split is one."""
        return len({picture.sha256 for picture in self.pictures})

    def name_of(self, label: str) -> str:
        """What a class is called, the folder's name with it where that is another."""
        name = self.names.get(label, label)
        return label if name == label else f"{label} {name}"


@dataclass(frozen=True)
class ReportOptions:
    """What a report is made of besides the dataset.

    `audit` and `evaluation` are a file and a folder that those commands wrote to another place; `bank` the folder of
    feature banks. Where `is_default`, the checkpoint was not named by anybody, and what is wrong with it is only said.
    """

    checkpoint: Path | None = None
    is_default: bool = False
    evaluation: Path | None = None
    audit: Path | None = None
    bank: Path | None = None
    device: str = DEFAULT_DEVICE
    without_model: str = field(default="")


def gather(root: Path, options: ReportOptions, progress: Progress = silent) -> ReportFindings:
    """Ask each stage what it knows of a dataset; of the one whose split lies in `root`, where that is another.

    Test is not opened; nothing is moved, and nothing written but what the catalog knows and the bank's features. Raises
    `UserError` as the stages do.
    """
    evaluated = read_evaluation(options.evaluation) if options.evaluation else None
    if options.checkpoint is not None and evaluated is None and not options.is_default:
        load_checkpoint(options.checkpoint)  # what is wrong with it is said before all pictures are read
    dataset = open_dataset(root)
    if not dataset.catalog_path.exists() and (owner := dataset_split_into(dataset.root)):
        root, dataset = owner, open_dataset(owner)  # a folder that holds another dataset's split has no catalog
    elsewhere = split_folder(dataset)
    with still_there(dataset.root), catalog_to_look(dataset) as catalog:
        cleaning = find_to_clean(dataset, catalog, progress)
        pictures = catalog.pictures()
        called, _ = names_for(dataset.root, dataset.labels(), recorded=recorded_names(dataset, catalog))
        found = ReportFindings(
            root=root,
            dataset=dataset,
            split_root=elsewhere,
            names=called,
            counts=_counts(dataset, elsewhere),
            yields=yields_on_record(catalog),
            licences=licences_of(dataset, {picture.sha256 for picture in pictures}),
            cleaning=cleaning,
            set_aside=_set_aside(dataset, catalog),
            relabelled=[move for move in class_moves_done(catalog) if not move.detail.startswith(COMPANION_OF)],
            pictures=pictures,
            digests=_digests(dataset, catalog, pictures),
            credits=_credits(catalog),
            audit=_audit(dataset, catalog, options.audit, pictures),
            verified=verify(root, progress=progress),
            without_model=options.without_model,
        )
    return replace(found, model=_model(root, options, evaluated, progress))


def _counts(dataset: Dataset, elsewhere: Path | None) -> dict[str, dict[str, int]]:
    counts = count_files(dataset)
    for label, one in (count_files(open_dataset(elsewhere)) if elsewhere else {}).items():
        mine = counts.setdefault(label, dict.fromkeys(one, 0))
        for split, count in one.items():
            mine[split] += count
    return counts


def _set_aside(dataset: Dataset, catalog: Catalog) -> list[SetAsidePicture]:
    keepers = {record.stored: record.keeper for record in records_done(catalog)}
    files = [
        file
        for file in stored_files(dataset, catalog)
        if not file.detail.startswith(COMPANION_OF) and (file.run or is_picture(dataset.quarantine / file.stored))
    ]
    disputed = {file.path for file in files if file.reason == _CONFLICT}
    return [
        SetAsidePicture(
            dataset.quarantine / file.stored, file.path, file.label, file.sha256, file.reason, file.detail,
            keepers.get(file.stored, "") or (_named_in(file.detail, disputed) if file.reason == _CONFLICT else ""),
        )
        for file in files
    ]  # fmt: skip


def _named_in(detail: str, paths: set[str]) -> str:
    """The longest of the paths that a reason names. Of a conflict both sides left, so that it has no keeper on record,
    and the other side is named in words alone.
    """
    return max((path for path in paths if f" as {path}" in detail), key=len, default="")


def _digests(dataset: Dataset, catalog: Catalog, pictures: Sequence[Picture]) -> dict[str, str]:
    root = dataset.root.resolve()
    known = {str(root / picture.path): picture.sha256 for picture in pictures}
    return known | {str((root / out).resolve() / path): sha256 for out, path, sha256 in placed_elsewhere(catalog)}


def _credits(catalog: Catalog) -> dict[str, Credit]:
    pages = author_pages(catalog)
    url = FIELDS.index("url")
    return {
        sha256: Credit(
            path="",
            label="",
            author_page=pages.get((sha256, values[url]), ""),
            **dict(zip(FIELDS, values, strict=True)),
        )
        for sha256, values in first_credits(catalog).items()
    }


def _audit(dataset: Dataset, catalog: Catalog, file: Path | None, pictures: Sequence[Picture]) -> AuditOnRecord | None:
    """What was audited; None where nothing was, unless a file is named."""
    place = file or dataset.home / AUDIT_FILE
    if file is None and not place.exists():
        return None
    audited = read_scores(place)
    there = {(picture.path, picture.sha256, picture.label) for picture in pictures}
    plan_file = place.with_name(PLAN_FILE)
    return AuditOnRecord(
        place, audited, tally_audit(audited),
        stale=sum((one.path, one.sha256, one.label) not in there for one in audited),
        plan_file=plan_file,
        plan=read_plan(plan_file) if plan_file.exists() else None,
        kept=kept_by_people(audited, Answers.of(catalog, pictures, part_placements(list(pictures))[1])),
    )  # fmt: skip


def _model(
    root: Path,
    options: ReportOptions,
    evaluated: tuple[SplitFigures, list[PictureAnswer]] | None,
    progress: Progress,
) -> ModelStory | None:
    if evaluated is not None:
        return _from_files(options, *evaluated)
    if options.checkpoint is None:
        return None
    try:
        checkpoint = load_checkpoint(options.checkpoint)
        openings = read_openings(options.checkpoint, content_of(checkpoint))
        story = ModelStory(options.checkpoint, checkpoint, openings, None, [])
        if _has_no_valid(root):
            return replace(story, why_not="The dataset has no valid to measure it on.")
        found = evaluate(
            options.checkpoint, root, split="valid", device=options.device, bank=options.bank, progress=progress
        )
    except UserError as error:
        if not options.is_default:
            raise
        return ModelStory(options.checkpoint, None, [], None, [], why_not=str(error))
    return replace(story, figures=found, answers=answers_of(found))


def _has_no_valid(root: Path) -> bool:
    dataset = open_dataset(root)
    folders = open_dataset(split_folder(dataset) or root).class_folders()
    return all(folder.split != "valid" for folder in folders)


def _from_files(options: ReportOptions, figures: SplitFigures, answers: list[PictureAnswer]) -> ModelStory:
    """The story of the checkpoint that an evaluation measured. Raises `UserError` where another one is named."""
    assert options.evaluation is not None
    measured = Path(figures.checkpoint)
    path = measured if options.is_default or options.checkpoint is None else options.checkpoint
    if path.resolve() != measured.resolve():
        raise UserError(
            f"{options.evaluation} has the figures of {measured}, not of {path}: leave --checkpoint out, or give the "
            "folder of another evaluation."
        )
    if not path.is_file():
        return ModelStory(path, None, [], figures, answers, str(options.evaluation))
    checkpoint = load_checkpoint(path)
    if checkpoint.labels != figures.labels:
        raise UserError(
            f"{path} knows other classes than those of {options.evaluation}: evaluate it again, with --out."
        )
    return ModelStory(
        path, checkpoint, read_openings(path, content_of(checkpoint)), figures, answers, str(options.evaluation)
    )
