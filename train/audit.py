"""What does not belong, what is labelled wrong, and what each class is like, as a network's features tell."""

import os
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog
from curate.catalog.known_files import known_files
from curate.clean import catalog_to_look
from curate.cleaning.audit_scores import AUDIT_FILE, AuditedPicture, as_written, write_scores
from curate.cleaning.audit_tally import kept_by_people
from curate.cleaning.losses import losses_of, tally
from curate.cleaning.placed_copies import part_placements
from curate.cleaning.plan import write_plan
from curate.cleaning.suspects import HELD_OUT, plan_suspects
from curate.dataset import UNLABELLED, Dataset, open_dataset
from curate.decisions import Answers
from curate.defaults import DEFAULT_AUDIT_AT, DEFAULT_DEVICE, DEFAULT_MODELS, DEFAULT_WEIGHTS, SUSPECT
from curate.errors import UserError
from curate.files.ours import CATALOG
from curate.progress import Progress, silent
from curate.scan import scan
from curate.searched import read_searched
from curate.written import require_own
from train.auditing.findings import FOLDS, Findings, find
from train.auditing.report import AuditReport, Purity
from train.backbones import Backbone
from train.checkpoint import load_checkpoint
from train.device import fast_precision, one_thread, require_memory, resolve_device
from train.evaluate import side_by_side
from train.fold_assignment import NEVER, assign_folds, near_duplicate_groups
from train.optimising.settings import require_seed
from train.pictures import LabelledPicture
from train.training import load_backbones

PLAN_FILE: Final = "audit-plan.jsonl"

FEWEST: Final = 5
"""Pictures of a class that can judge one another: with two to four, right ones were accused where classes are many."""

FEW_CLASSES: Final = 5
"""Classes from which on strays are told: what is far from one or two others may still be odd for its own."""

_COPIES: Final = 4  # of the features that are held at once, in float32


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """By which network's features is judged, and what becomes a suspect.

    With `checkpoint` the networks are those of its file; else they are `backbone` with `weights`, as `train` takes
    them. Who has a chance of `at` or more goes into the plan; `splits` are those of valid and test that it may change.
    """

    backbone: str
    weights: str | Path = DEFAULT_WEIGHTS
    checkpoint: Path | None = None
    models: Path = DEFAULT_MODELS
    device: str = DEFAULT_DEVICE
    at: float = DEFAULT_AUDIT_AT
    splits: Collection[str] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        require_seed(self.seed)
        if self.backbone and self.checkpoint is not None:
            raise UserError("A checkpoint brings its network: give --backbone or --checkpoint, not both.")
        if not 0.5 <= self.at <= 1:
            raise UserError(f"A chance of {self.at:g} makes no suspect: give one from 0.5 to 1.")
        if strange := set(self.splits) - HELD_OUT:
            raise UserError(f"{min(strange)!r} is no split that is held out: give valid, test or both.")


def audit(
    root: Path,
    options: AuditOptions,
    *,
    out: Path | None = None,
    save_plan: Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> AuditReport:
    """Score every picture of a dataset, write the scores to `out` and the suspects to the plan `save_plan`.

    By default these are audit.jsonl and audit-plan.jsonl beside the catalog. Features are read from the bank in
    `<models>/bank`, and computed as far as it lacks them. Nothing is moved: `clean --plan` carries the plan out.
    A picture is judged by others alone: no near-duplicate and none of its origin is among them. The dataset may lie on
    a read-only disk, with other places for `out` and `save_plan`. Raises `UserError` where there are not two classes of
    five pictures, for files of somebody else in the places of ours, and for places that cannot be written.
    """
    dataset = open_dataset(root)
    file, plan_file = out or dataset.home / AUDIT_FILE, save_plan or dataset.home / PLAN_FILE
    _require_places(dataset, file, plan_file)
    with catalog_to_look(dataset) as catalog:
        require_own(catalog, file, force=force)
        scan(dataset, catalog, progress)
        return _audited(dataset, catalog, options, file, plan_file, progress, force=force)


def _audited(
    dataset: Dataset,
    catalog: Catalog,
    options: AuditOptions,
    file: Path,
    plan_file: Path,
    progress: Progress,
    *,
    force: bool,
) -> AuditReport:
    """The audit of a dataset whose catalog is up to date."""
    started = time.perf_counter()
    pictures = _pictures(dataset)
    backbones = _backbones(options)
    require_memory(len(pictures) * sum(one.dim for one in backbones) * 4 * _COPIES, "The audit", "give fewer pictures")
    device = resolve_device(options.device)
    found = side_by_side(
        backbones, pictures, bank=options.models / "bank", device=device, precision=fast_precision(device),
        progress=progress, description="Extracting features",
    )  # fmt: skip
    features_at = time.perf_counter()
    groups, notes = near_duplicate_groups(dataset, progress, catalog)
    if len(dataset.labels()) < FEW_CLASSES:
        notes.append(
            "Of so few classes what shows none of them is hardly told from an odd picture: look at those with an "
            "outlier score of 0.9 or more yourself."
        )
    kept = [pictures[at] for at in found.kept]
    contents = _Contents.of_pictures(kept, found.sha256, groups)
    labels = [label for label in dataset.labels() if label in contents.labels]
    with one_thread():
        findings = _find(found.features[:, 0].float().numpy()[contents.first], contents, labels, options.seed, progress)
    lines = _lines(dataset, kept, contents, labels, findings)
    write_scores(file, lines, catalog, force=force)
    proposed = _paths_of_proposed(dataset, kept, contents, findings)
    present = catalog.pictures()
    answers = Answers.of(catalog, present, part_placements(present)[1])
    decisions = plan_suspects(
        dataset, catalog, lines, options.at, of_proposed=proposed, splits=options.splits, answers=answers
    )
    stay = kept_by_people(lines, answers)
    losses = losses_of(decisions, tally(decisions, part_placements(present)[0])) if decisions else []
    write_plan(plan_file, decisions, catalog, force=force)
    planned = {decision.path for decision in decisions}
    once = {(line.sha256, line.label): line for line in reversed(lines)}.values()
    suspects = [line for line in once if max(line.irrelevant, line.mislabelled) >= options.at and line.path not in stay]
    return AuditReport(
        dataset, lines, findings.classes, _purity(dataset, lines), decisions,
        held_out=sum(line.path not in planned for line in suspects),
        unjudged=int((~findings.judged).sum()),
        broken=found.broken,
        networks=[backbone.name for backbone in backbones],
        file=file,
        plan_file=plan_file,
        notes=notes,
        losses=losses,
        kept=stay,
        seconds={"features": features_at - started, "audit": time.perf_counter() - features_at},
    )  # fmt: skip


def _require_places(dataset: Dataset, file: Path, plan_file: Path) -> None:
    """Raise `UserError` for places where the scores or the plan would cost something, be it with force."""
    if file.resolve() == plan_file.resolve():
        raise UserError(f"The scores and the plan cannot both be {file}: give --out and --save-plan two names.")
    folders = [(dataset.root / folder.path).resolve() for folder in dataset.folders()]
    kept = [*folders, dataset.quarantine.resolve()]
    for place in (file.resolve(), plan_file.resolve()):
        if place.name.startswith(CATALOG) or any(place.is_relative_to(folder) for folder in kept):
            raise UserError(f"{place} is a place of pictures or of the catalog: name a file elsewhere.")
        if not os.access(_first_there(place.parent), os.W_OK):
            raise UserError(f"{place} cannot be written: give --out and --save-plan places elsewhere.")


def _first_there(folder: Path) -> Path:
    """The folder or, where it has yet to be made, the one in which it will be."""
    return next(one for one in (folder, *folder.parents) if one.exists())


def _pictures(dataset: Dataset) -> list[LabelledPicture]:
    known = known_files(dataset.catalog_path)
    found = [
        LabelledPicture(dataset.root / file.path, file.label, known[file.path].sha256 if file.path in known else None)
        for file in dataset.files()
        if file.label != UNLABELLED
    ]
    if sum(count >= FEWEST for count in Counter(picture.label for picture in found).values()) < 2:
        raise UserError(f"{dataset.root} has no two classes of {FEWEST} pictures: fewer cannot judge one another.")
    return found


def _backbones(options: AuditOptions) -> list[Backbone]:
    if options.checkpoint is not None:
        return load_checkpoint(options.checkpoint).backbones
    return load_backbones(options.backbone, options.weights, seed=options.seed)


@dataclass(frozen=True, eq=False)
class _Contents:
    """Pictures as contents under a label: what lies in raw and is placed in train is judged once.

    `of` is the content of each picture, (m,); `first` a picture of each content, (n,).
    """

    of: NDArray[np.int64]
    first: NDArray[np.int64]
    sha256: list[str]  # (n,)
    labels: list[str]  # (n,)
    groups: Mapping[str, int]

    @classmethod
    def of_pictures(
        cls, kept: Sequence[LabelledPicture], sha256: Sequence[str], groups: Mapping[str, int]
    ) -> "_Contents":
        """Contents in order of their first pictures."""
        numbers: dict[tuple[str, str], int] = {}
        first: list[int] = []
        of = np.zeros(len(kept), np.int64)
        for at, (picture, sha) in enumerate(zip(kept, sha256, strict=True)):
            number = numbers.setdefault((sha, picture.label), len(first))
            if number == len(first):
                first.append(at)
            of[at] = number
        return cls(of, np.array(first, np.int64), [sha for sha, _ in numbers], [label for _, label in numbers], groups)

    def group_numbers(self) -> NDArray[np.int64]:
        """A number for each content that those share which belong together, (n,)."""
        numbers: dict[str, int] = {}
        named = [f"group {self.groups[sha]}" if sha in self.groups else sha for sha in self.sha256]
        return np.array([numbers.setdefault(name, len(numbers)) for name in named], np.int64)


def _find(
    features: NDArray[np.float32], contents: _Contents, labels: Sequence[str], seed: int, progress: Progress
) -> Findings:
    if not np.isfinite(features).all():
        raise UserError("The network gives features that are not finite numbers: it needs other weights.")
    index = {label: number for number, label in enumerate(labels)}
    targets = np.array([index[label] for label in contents.labels], np.int64)
    fold = assign_folds(contents.sha256, targets, contents.groups, folds=FOLDS, seed=seed)
    fold[np.bincount(targets, minlength=len(labels))[targets] < FEWEST] = NEVER
    return find(features, targets, labels, fold, contents.group_numbers(), seed=seed, progress=progress)


def _lines(
    dataset: Dataset,
    kept: Sequence[LabelledPicture],
    contents: _Contents,
    labels: Sequence[str],
    findings: Findings,
) -> list[AuditedPicture]:
    paths = [picture.path.relative_to(dataset.root).as_posix() for picture in kept]
    scores = findings.scores
    lines = []
    for at, picture in enumerate(kept):
        one = int(contents.of[at])
        lines.append(
            AuditedPicture(
                paths[at],
                picture.label,
                float(scores.irrelevant[one]),
                float(scores.mislabelled[one]),
                labels[int(scores.proposed[one])],
                float(scores.outlier[one]),
                float(scores.ambiguous[one]),
                float(findings.redundant[one]),
                _paths(paths, contents, findings.nearest[one]),
                contents.sha256[one],
            )
        )
    return [as_written(line) for line in lines]


def _paths(paths: Sequence[str], contents: _Contents, places: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(paths[int(contents.first[place])] for place in places if place >= 0)


def _paths_of_proposed(
    dataset: Dataset, kept: Sequence[LabelledPicture], contents: _Contents, findings: Findings
) -> dict[str, tuple[str, ...]]:
    """The path → the nearest of the class that is proposed, for those of which it was looked for."""
    paths = [picture.path.relative_to(dataset.root).as_posix() for picture in kept]
    found = {
        path: _paths(paths, contents, findings.nearest_proposed[one])
        for path, one in zip(paths, contents.of, strict=True)
    }
    return {path: near for path, near in found.items() if near}


def _purity(dataset: Dataset, lines: Sequence[AuditedPicture]) -> list[Purity]:
    """How pure each source and each query is, by contents; nothing where nothing was scraped."""
    searched = read_searched([dataset])
    counts, suspects = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for sha, line in {line.sha256: line for line in lines}.items():
        names = [(source, "")] if (source := searched.sources.get(sha)) else []
        names += [(query.source, query.text)] if (query := searched.queries.get(sha)) and query.text else []
        counts.update(names)
        if max(line.irrelevant, line.mislabelled) >= SUSPECT:
            suspects.update(names)
    found = [Purity(source, query, count, suspects[source, query]) for (source, query), count in counts.items()]
    return sorted(found, key=lambda one: (-one.suspects / one.pictures, one.source, one.query))
