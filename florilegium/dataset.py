"""A dataset as an object: a folder of class folders, and each stage as a method."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from curate.defaults import (
    DEFAULT_ABLATION_SEEDS,
    DEFAULT_AUDIT_AT,
    DEFAULT_BIND,
    DEFAULT_CONFLICTS,
    DEFAULT_COUNT,
    DEFAULT_DEVICE,
    DEFAULT_FORMAT,
    DEFAULT_LICENSES,
    DEFAULT_LIMIT,
    DEFAULT_METHOD,
    DEFAULT_MIN_PER_CLASS,
    DEFAULT_MIN_SIZE,
    DEFAULT_MODE,
    DEFAULT_MODELS,
    DEFAULT_ONLY,
    DEFAULT_POLICY,
    DEFAULT_RADIUS,
    DEFAULT_RATIO,
    DEFAULT_RECIPE,
    DEFAULT_REPORT,
    DEFAULT_RUNS,
    DEFAULT_SEED,
    DEFAULT_SHOWN_SEED,
    DEFAULT_SHOWN_VIEWS,
    DEFAULT_SOURCES,
    DEFAULT_WEIGHTS,
)
from curate.printable import printable
from florilegium.arguments import checked
from florilegium.page import HtmlPage
from florilegium.progress import AUTO, chosen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from PIL import Image

    from curate.defaults import Bind, ConflictMode, CopyKind, Format, Method, Mode, PolicyName
    from curate.split import Ratio
    from florilegium.model import Model
    from florilegium.progress import Watch
    from florilegium.results import (
        AblationResult,
        AuditResult,
        CleanPlan,
        CompareResult,
        ExportResult,
        ReportResult,
        RestoreResult,
        ScrapeResult,
        SplitResult,
        VerifyResult,
    )
    from train.optimising.settings import HeadMethod

_SPLITS = ("raw", "train", "valid", "test")
_MOST_ROWS = 40
_PICTURES = 12  # drawn in a notebook


@checked
def open(root: str | Path, *, label_from: str | Path | None = None) -> Dataset:  # noqa: A001  (read as `fl.open`)
    """Open a folder of class folders: `<root>/<class>/`, `<root>/raw/<class>/` or `<root>/train/<class>/` and so on.

    Nothing is written, but where labels do not stand in folders: `label_from` is "name" (cat.0.jpg), "parent" (the
    innermost folder), or a table "FILE.csv" or "FILE.csv:COLUMN"; the pictures are then laid out by label, as links, in
    `<root>_labelled` beside it. Raises `UserError` where there is no such folder, or no class folder in it.
    """
    from curate.errors import UserError

    if root == "":
        raise UserError("No folder was named: give the one that holds your class folders.")
    if label_from is not None:
        from curate.label import label

        label(Path(root), str(label_from))
    return Dataset(root)


@checked
def scrape(
    out: str | Path,
    classes: str | Sequence[str] | None = None,
    *,
    names: str | Path | Mapping[str, str] | None = None,
    limit: int = DEFAULT_LIMIT,
    sources: Sequence[str] = DEFAULT_SOURCES,
    licenses: str = DEFAULT_LICENSES,
    min_size: int = DEFAULT_MIN_SIZE,
    per_author: int | None = None,
    specimens: bool = False,
    contact: str = "",
    ignore_robots: bool = False,
    ignore_noai: bool = False,
    force: bool = False,
    wait: float | None = 0.0,
    progress: Watch = AUTO,
) -> ScrapeResult:
    """Bring each class up to `limit` scraped pictures, credited, into `out`, which is made where it is not there.

    `names` says what to search for: class folder → search query, or a JSON file of that; Oxford-102's flowers by
    default. `classes` picks some of it, by folder or name. `sources` are "auto", or openverse, wikimedia, inaturalist,
    gbif, flickr, pexels, pixabay, unsplash, duckduckgo, google, inaturalist_open_data, "gbif_download:FILE",
    "hf:DATASET", "urls:FILE", "folder:DIR". `licenses` is "open", codes such as "by,by-sa", or "any". `min_size` is in
    pixels of the shorter side. `per_author` is the most pictures of a class by one author (0 for any number, None for a
    fifth of the limit as long as there are others); `specimens` takes herbarium sheets too.
    `contact` is your address, for the services to complain to; `ignore_robots` and `ignore_noai` fetch what a site asks
    programs not to. `force` overwrites a CREDITS.md and a metadata.csv that somebody else has written. `wait` is how
    many seconds to wait for another command at work in the dataset; None for as long as it takes.

    Safe to stop at any instant: the same call goes on. Raises `UserError` for a class, source, licence or place that
    cannot be used.
    """
    from curate.scrape import scrape as run
    from curate.scraping.contact import known_contact
    from curate.scraping.scrape_options import ScrapeOptions, plan_queries
    from curate.sources.protocol.licenses import allowed_licenses
    from curate.web.network import Network
    from florilegium.event_loop import run_outside_event_loop
    from florilegium.results import ScrapeResult

    known: Path | dict[str, tuple[str, ...]] | None
    if names is None or isinstance(names, str | Path):
        known = None if names is None else Path(names)
    else:
        known = {label: (label, query) for label, query in names.items()}
    queries = plan_queries(known, _comma_list(classes))
    every_name = {query.label: query.name for query in plan_queries(known)}
    options = ScrapeOptions(limit, allowed_licenses(licenses), min_size, per_author, specimens, ignore_noai)
    network = Network(
        contact=known_contact(Path(out), contact), obey_robots=not ignore_robots, obey_robots_tag=not ignore_noai
    )
    watch = chosen(progress)
    report = run_outside_event_loop(
        lambda: run(
            Path(out), queries, options,
            sources=sources, network=network, names=every_name, force=force, wait=wait, progress=watch,
        )
    )  # fmt: skip
    return ScrapeResult.of(report)


class Dataset:
    """A folder of class folders, and each stage as a method. `root` is the folder, or the address of one.

    It holds nothing but the folder's name: every method looks at the disk anew. In a notebook it draws itself as a
    table of its classes with some of its pictures.
    """

    @checked
    def __init__(self, root: str | Path) -> None:
        """Raises `UserError` where there is no such folder, or no class folder in it."""
        from curate.dataset import open_dataset
        from curate.files.addresses import located

        self.root = located(root)
        open_dataset(self.root)

    @property
    def labels(self) -> list[str]:
        """The class folders' names, each once, in natural order. Raises `UserError` as `open` does."""
        from curate.dataset import open_dataset

        return open_dataset(self.root).labels()

    @property
    def split_root(self) -> Path:
        """The folder that holds train/: the dataset itself, or where `split` has put its split.

        Raises `UserError` as `open` does.
        """
        from curate.splitting.whereabouts import open_split

        return open_split(self.root).root

    def scrape(self, classes: str | Sequence[str] | None = None, **options: Any) -> ScrapeResult:
        """Add pictures from the web, credited; options and errors (`UserError`) are those of the function `scrape`."""
        return scrape(self.root, classes, **options)

    @checked
    def clean(
        self,
        *,
        radius: int = DEFAULT_RADIUS,
        keep: PolicyName = DEFAULT_POLICY,
        conflicts: ConflictMode = DEFAULT_CONFLICTS,
        geometry: bool = False,
        remove: Collection[str] = (),
        only: CopyKind = DEFAULT_ONLY,
        merge: Mapping[str, str] | None = None,
        not_copies: Sequence[tuple[str, str]] = (),
        again: bool = False,
        force: bool = False,
        progress: Watch = AUTO,
    ) -> CleanPlan:
        """Read every picture, and plan what is to leave: broken files, copies, pictures under two labels.

        Moves nothing: look at the plan, then `carry_out`. `radius` is in bits of the perceptual hash, 0 to 12; `keep`
        says which of several copies stays (best, largest, sharpest, first-seen, most-credited); `conflicts` what
        becomes of one picture under two labels (quarantine, keep-best, report); `geometry` finds turned and mirrored
        copies too; `remove` names quality flags that make a picture leave, such as "blurred"; `only` is "exact" where
        the same bytes alone are a copy. `merge` says which class becomes which: {"c1": "42"}. `not_copies` are pairs of
        pictures, by their paths relative to the dataset, that are no copies: this is remembered. What a person kept, or
        brought back, is proposed for the same cause only with `again`. The plan is also written as JSON Lines where the
        catalog is, over nothing but an unedited plan, unless `force`. Raises `UserError` for an option that there is
        not, and for a folder that cannot be read.
        """
        from curate.clean import clean as run
        from florilegium.results import CleanPlan

        report = run(
            self.root, dry_run=True, radius=radius, keep=keep, conflicts=conflicts, geometry=geometry,
            remove=[remove] if isinstance(remove, str) else list(remove), only=only,
            merge=[f"{label}={into}" for label, into in (merge or {}).items()], not_copies=list(not_copies),
            again=again, force=force, progress=chosen(progress),
        )  # fmt: skip
        return CleanPlan.of(report)

    @checked
    def restore(
        self,
        *,
        reasons: Collection[str] | None = None,
        pictures: Collection[str] | None = None,
        labels: Collection[str] | None = None,
        run: str | None = None,
        wait: float | None = 0.0,
        progress: Watch = AUTO,
    ) -> RestoreResult:
        """Bring back what `clean` set aside, for good: all of it, or what meets all that is given.

        `reasons` are those of the plan; `pictures` paths relative to the dataset, as they were; `labels` class
        folders; `run` what one cleaning moved, by its `run`, or "last". `wait` as `scrape` has it. Raises `UserError`,
        before anything is moved, for a reason, picture, class or run that there never was.
        """
        from curate.quarantine import RestoreReport
        from curate.restore import restore as bring_back
        from florilegium.results import RestoreResult

        report = bring_back(
            self.root, reasons=_listed(reasons), pictures=_listed(pictures), labels=_listed(labels), run=run,
            wait=wait, progress=chosen(progress),
        )  # fmt: skip
        return RestoreResult.of(report or RestoreReport([], []))

    @checked
    def split(
        self,
        *,
        ratio: Ratio = DEFAULT_RATIO,
        seed: int = DEFAULT_SEED,
        out: str | Path | None = None,
        freeze: Iterable[str] | None = None,
        min_per_class: int = DEFAULT_MIN_PER_CLASS,
        method: Method = DEFAULT_METHOD,
        radius: int = DEFAULT_RADIUS,
        bind: Bind = DEFAULT_BIND,
        group_by: str | Path | None = None,
        mode: Mode = DEFAULT_MODE,
        features: str | None = None,
        models: str | Path = DEFAULT_MODELS,
        dry_run: bool = False,
        wait: float | None = 0.0,
        progress: Watch = AUTO,
    ) -> SplitResult:
        """Split into train, valid and test without a leak: near-duplicates and pictures of one origin stay together.

        So do those of one group by `group_by`: "parent" for the folders below the class folders, a regular expression
        for their paths below these, or a table "FILE.csv" or "FILE.csv:COLUMN". With `bind="copies"`, pictures that
        are only near may part: frames, or one form filled in. Shots of one scene stay together where the bank in
        `models` has features of them; those of a network named by `features` are computed first.

        Pictures that have their split keep it. `ratio` are the three shares; `freeze` names splits that take nothing
        new; valid and test get `min_per_class` pictures of each class, or a third of a small one's; `mode` places
        hard links, "symlink"s or a "copy" of each picture in `out`: the dataset itself or, where the class folders
        are the dataset's own, `<root>_split` beside it. `dry_run` places nothing. `radius` as in `clean`, `wait` as
        in `scrape`. Raises `UserError` for shares, a seed or a place that cannot be used.
        """
        from curate.files.addresses import located
        from curate.split import split as run
        from florilegium.results import SplitResult
        from train.alike import alike_in

        bars = chosen(progress)
        alike = alike_in(Path(models) / "bank", self.root, bind=bind, network=features, progress=bars)
        report = run(
            self.root, out=None if out is None else located(out), ratio=ratio, seed=seed, freeze=_listed(freeze),
            min_per_class=min_per_class, method=method, radius=radius, bind=bind,
            group_by=None if group_by is None else str(group_by), mode=mode, alike=alike, dry_run=dry_run, wait=wait,
            progress=bars,
        )  # fmt: skip
        return SplitResult.of(report)

    @checked
    def verify(self, *, radius: int = DEFAULT_RADIUS, progress: Watch = AUTO) -> VerifyResult:
        """Read every file again, compare with the catalog, and prove the split anew; nothing is written.

        `radius` as in `clean`. Raises `UserError` for a folder that cannot be read.
        """
        from curate.verify import verify as run
        from florilegium.results import VerifyResult

        return VerifyResult.of(run(self.root, radius=radius, progress=chosen(progress)))

    @checked
    def compare(
        self, other: str | Path | Dataset, *, radius: int = DEFAULT_RADIUS, progress: Watch = AUTO
    ) -> CompareResult:
        """Compare with another dataset: pictures that both have, leaks between their splits, which class is which.

        Nothing is written. `radius` as in `clean`. Raises `UserError` for a folder that cannot be read.
        """
        from curate.compare import compare_datasets
        from florilegium.results import CompareResult

        root = other.root if isinstance(other, Dataset) else Path(other)
        return CompareResult.of(compare_datasets(self.root, root, radius=radius, progress=chosen(progress)))

    @checked
    def show(
        self,
        count: int = DEFAULT_COUNT,
        *,
        classes: str | Sequence[str] | None = None,
        split: Literal["train", "valid", "test", "raw"] | None = None,
        views: int = DEFAULT_SHOWN_VIEWS,
        recipe: str = DEFAULT_RECIPE,
        seed: int = DEFAULT_SHOWN_SEED,
        names: str | Path | None = None,
    ) -> Image.Image:
        """Draw `count` pictures, as evenly from the classes as can be: an RGB picture, which a notebook shows.

        `classes` picks some, by folder or name; with several `views` each picture stands in a row as training with
        `recipe` sees it. The same `seed` draws the same pictures. Raises `UserError` where there is nothing to draw.
        """
        from curate.dataset import open_dataset
        from curate.names import require_names
        from curate.show import pictures_to_show, require_sheet, sheet_of_pictures

        require_sheet(count, views)
        dataset = open_dataset(self.root)
        called = require_names(self.root, dataset.labels(), None if names is None else Path(names))
        if views > 1 and split is None and any(folder.split == "train" for folder in dataset.class_folders()):
            split = "train"
        pictures = pictures_to_show(dataset, called, split=split, classes=_comma_list(classes), count=count, seed=seed)
        if views == 1:
            return sheet_of_pictures(dataset, pictures, called)
        from train.recipe import load_recipe
        from train.run import options_of
        from train.shown_views import sheet_of_views

        options = options_of(load_recipe(recipe))
        return sheet_of_views(dataset, pictures, called, options.augmentation, views, options.seed)

    @checked
    def train(
        self,
        recipe: str | Path = DEFAULT_RECIPE,
        *,
        backbone: str | None = None,
        weights: str | Path | None = None,
        views: int | None = None,
        unfreeze: int | str | None = None,
        head: HeadMethod | None = None,
        balance: float | None = None,
        seed: int = DEFAULT_SEED,
        device: str = DEFAULT_DEVICE,
        models: str | Path = DEFAULT_MODELS,
        runs: str | Path = DEFAULT_RUNS,
        names: str | Path | None = None,
        progress: Watch = AUTO,
        **options: Any,
    ) -> Model:
        """Train on train, measure on valid, and write a checkpoint into `models` and the run's story into `runs`.

        `recipe` is a recipe's name or TOML file, and all of its options can be given by name: `backbone`, a network
        of torchvision or timm; `weights`, "default", "none", a tag or a state dict's file; `views` of each training
        picture; `unfreeze`, what trains besides the last layer; `head`, how that is fitted: "sgd", "ridge", "lda",
        "logistic", or "auto" for what folds choose; `balance` of the classes, 0 to 1; and, among `options`, such as
        `learning_rate=0.01`. `names` is a JSON file: class folder → name. `device` is auto, cpu,
        cuda or mps. A second call with the same network finds its features in the bank, in `models`. Raises
        `UserError` for an option or weights that cannot be used, and where there is no split.
        """
        from curate.dataset import open_dataset
        from curate.names import require_names
        from florilegium.model import Model
        from train.recipe import load_recipe
        from train.run import options_of
        from train.run_folder import train_in_folder

        root = self.split_root
        named = require_names(root, open_dataset(root).labels(), None if names is None else Path(names))
        given = {
            "backbone": backbone, "weights": weights, "views": views, "unfreeze": unfreeze, "head": head,
            "balance": balance,
        }  # fmt: skip
        wanted = load_recipe(recipe, {**options, **{key: value for key, value in given.items() if value is not None}})
        chosen_options = options_of(wanted, seed=seed, models=Path(models), device=device, names=named)
        report, run = train_in_folder(root, chosen_options, wanted, runs=Path(runs), progress=chosen(progress))
        return Model(report.checkpoint, dataset=root, device=device, training=report, run=run)

    @checked
    def audit(
        self,
        backbone: str | None = None,
        *,
        weights: str | Path = DEFAULT_WEIGHTS,
        checkpoint: str | Path | None = None,
        models: str | Path = DEFAULT_MODELS,
        at: float = DEFAULT_AUDIT_AT,
        splits: Collection[str] = (),
        out: str | Path | None = None,
        save_plan: str | Path | None = None,
        force: bool = False,
        seed: int = 0,
        device: str = DEFAULT_DEVICE,
        progress: Watch = AUTO,
    ) -> AuditResult:
        """Judge each picture by the others: the chances that it shows none of the classes, or another than its label.

        The network is `backbone` with `weights`, or that of `checkpoint`, or of the best checkpoint in `models`. Who
        has a chance of `at` or more is in the plan, but for what lies in valid or test, unless `splits` names these.
        Scores are written to `out`, the plan to `save_plan`; by default both lie beside the catalog. Nothing is moved:
        `carry_out` does that. Raises `UserError` where there are not two classes of five pictures, for a chance below
        0.5, and for a file of somebody else's, unless `force`.
        """
        from commands.options import judge_of
        from florilegium.results import AuditResult
        from train.audit import AuditOptions, audit

        judge = None if checkpoint is None else Path(checkpoint)
        if backbone is None and judge is None:
            backbone, judge = judge_of(self.root, Path(models))
        options = AuditOptions(
            backbone=backbone or "", weights=weights, checkpoint=judge, models=Path(models),
            device=device, at=at, splits=_listed(splits) or (), seed=seed,
        )  # fmt: skip
        report = audit(
            self.root, options, out=None if out is None else Path(out), force=force,
            save_plan=None if save_plan is None else Path(save_plan), progress=chosen(progress),
        )  # fmt: skip
        return AuditResult.of(report)

    @checked
    def ablate(
        self,
        recipe: str | Path = DEFAULT_RECIPE,
        *,
        backbone: str | None = None,
        weights: str | Path | None = None,
        views: int | None = None,
        balance: float | None = None,
        seeds: int = DEFAULT_ABLATION_SEEDS,
        only: Sequence[str] = (),
        audit: str | Path | None = None,
        seed: int = DEFAULT_SEED,
        device: str = DEFAULT_DEVICE,
        models: str | Path = DEFAULT_MODELS,
        progress: Watch = AUTO,
        **options: Any,
    ) -> AblationResult:
        """Measure what each step bought: accuracy on valid with and without each cleaning step, source, query, class
        balance and views, as the mean over `seeds` heads on the feature bank; and how much leaks would flatter.

        `only` names some of the steps: duplicates, leaks, conflicts, flags, plan, audit, cleaning, sources, queries,
        balance, views, flattery. `audit` is an audit or a plan whose decisions are measured, by default audit.jsonl
        beside the catalog. The recipe and its options as in `train`. Nothing is moved, and test is not opened. Raises
        `UserError` where there is no split, and for a step or an option that cannot be used.
        """
        from florilegium.results import AblationResult
        from train.ablate import ablate
        from train.recipe import load_recipe
        from train.run import options_of

        given = {"backbone": backbone, "weights": weights, "views": views, "balance": balance}
        wanted = load_recipe(recipe, {**options, **{key: value for key, value in given.items() if value is not None}})
        told = options_of(wanted, seed=seed, models=Path(models), device=device)
        report = ablate(
            self.root, told, seeds=seeds, only=_listed(only) or (), audit=None if audit is None else Path(audit),
            progress=chosen(progress),
        )  # fmt: skip
        return AblationResult.of(report)

    @checked
    def report(
        self,
        out: str | Path = DEFAULT_REPORT,
        *,
        checkpoint: str | Path | None = None,
        evaluation: str | Path | None = None,
        audit: str | Path | None = None,
        data_only: bool = False,
        models: str | Path = DEFAULT_MODELS,
        device: str = DEFAULT_DEVICE,
        force: bool = False,
        progress: Watch = AUTO,
    ) -> ReportResult:
        """Write what all stages found and did, with a sample of the pictures, as one HTML file that needs nothing else.

        The classifier is `checkpoint` or the best in `models`, and is measured on valid; test is not opened. Figures
        on any split come from `evaluation`, a folder that `evaluate --out` wrote. `audit` is a file that `audit` wrote
        to another place. With `data_only` the classifier is left out. `force` replaces a file that is not a report of
        ours. Raises `UserError` where `out` cannot be written, and as the stages do that are asked.
        """
        from commands.reporting import make_report, report_options
        from florilegium.results import ReportResult

        options = report_options(
            self.root, None if checkpoint is None else Path(checkpoint), Path(models),
            evaluation=None if evaluation is None else Path(evaluation), audit=None if audit is None else Path(audit),
            data_only=data_only, device=device,
        )  # fmt: skip
        return ReportResult.of(make_report(self.root, options, Path(out), force=force, progress=chosen(progress)))

    @checked
    def export(
        self,
        format: Format = DEFAULT_FORMAT,  # noqa: A002  (it is what the command line's option is called)
        *,
        out: str | Path | None = None,
        names: str | Path | None = None,
        convert: bool = False,
        wait: float | None = 0.0,
        progress: Watch = AUTO,
    ) -> ExportResult:
        """Write the intact pictures of the splits, with their credits, for other tools.

        `format` is imagefolder, webdataset or parquet; `out` a new folder, `<root>_<format>` beside the dataset by
        default. `convert` writes what torchvision does not read as PNG or JPEG. `names` as in `train`, `wait` as in
        `scrape`. Raises `UserError` where `out` is taken, for a format that there is not, and where a package is
        missing.
        """
        from curate.export import export as run
        from curate.files.addresses import located
        from florilegium.results import ExportResult

        resolved = self.root.resolve()
        target = resolved.with_name(f"{resolved.name}_{format}") if out is None else located(out)
        report = run(
            self.root, target, format=format, names=None if names is None else Path(names), convert=convert,
            wait=wait, progress=chosen(progress),
        )  # fmt: skip
        return ExportResult.of(report)

    def _counts(self) -> dict[str, dict[str, int]]:
        """Files of each class (label → split → count), "raw" for those in no split."""
        from curate.counts import count_files
        from curate.dataset import open_dataset

        return count_files(open_dataset(self.root))

    def _summary(self, counts: Mapping[str, Mapping[str, int]]) -> str:
        totals = {split: sum(one[split] for one in counts.values()) for split in _SPLITS}
        listed = ", ".join(f"{count:,} {split}" for split, count in totals.items() if count)
        return f"{listed or 'no'} files of {len(counts):,} classes"

    def __repr__(self) -> str:
        from curate.errors import UserError

        try:
            return printable(f"Dataset({str(self.root)!r}): {self._summary(self._counts())}")
        except UserError as error:
            return printable(f"Dataset({str(self.root)!r}): {error}")

    def _repr_html_(self) -> str:
        from curate.errors import UserError

        page = HtmlPage()
        try:
            counts = self._counts()
            page.say(f"{self.root}: {self._summary(counts)}")
            there = [split for split in _SPLITS if any(one[split] for one in counts.values())]
            rows = [(label, *(one[split] for split in there)) for label, one in list(counts.items())[:_MOST_ROWS]]
            page.table("Pictures", ("class", *there), rows)
            if len(counts) > _MOST_ROWS:
                page.say(f"… and {len(counts) - _MOST_ROWS:,} more classes.")
            page.draw(self.show(_PICTURES), f"Some pictures of {self.root}")
        except UserError as error:
            page.say(str(error))
        return page.html


def _comma_list(classes: str | Sequence[str] | None) -> str | None:
    return classes if classes is None or isinstance(classes, str) else ",".join(classes)


def _listed(words: Iterable[str] | None) -> list[str] | None:
    """One word alone is meant as a list of it, and not as its letters."""
    if words is None:
        return None
    return [words] if isinstance(words, str) else list(words)
