"""The commands: parse, call one function, print. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import console
import reports

# Plain help: rich's takes a quarter of a second to import, and --help should answer at once.
app = typer.Typer(
    name="florilegium",
    help="From class names and search queries to an image classifier one can trust.",
    epilog="Begin with: cli.py demo",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DEFAULT_DATA = Path("flower_data")
DEFAULT_MODELS = Path("models")

Data = Annotated[Path, typer.Argument(metavar="DATA", help="The dataset folder: <class>/, raw/<class>/ or train/…")]


@app.command()
def clean(
    data: Data = DEFAULT_DATA,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and move nothing.")] = False,
    radius: Annotated[int, typer.Option(min=0, max=12, help="Bits in which near-duplicates' pHashes may differ.")] = 8,
) -> None:
    """Set broken files, near-duplicates and mislabelled copies aside.

    Nothing is deleted: what leaves lies in quarantine/ with its reason, and `restore` brings it back.

    Example: cli.py clean flower_data --dry-run
    """
    from curate.clean import clean as run_clean

    report = run_clean(data, dry_run=dry_run, radius=radius, progress=console.bars)
    reports.cleaning(report)
    plan = report.plan.decisions
    if not plan and not report.resumed:
        console.say(f"Nothing to set aside among {report.scan.files:,} files in {data}. Next: cli.py split {data}")
    elif dry_run:
        console.say(f"Nothing was moved: {len(plan):,} of {report.scan.files:,} files would be. "
                    f"Next: cli.py clean {data}")  # fmt: skip
    else:
        console.say(f"Moved {report.moved + report.resumed:,} files to {report.dataset.quarantine}. "
                    f"Next: cli.py split {data} (or take it back: cli.py restore {data})")  # fmt: skip


@app.command()
def restore(
    data: Data = DEFAULT_DATA,
    *,
    reason: Annotated[list[str] | None, typer.Option(help="broken, duplicate, leak or conflict; repeatable.")] = None,
) -> None:
    """Bring pictures back from the quarantine, under their old names.

    Example: cli.py restore flower_data --reason conflict
    """
    from curate.catalog import Catalog
    from curate.clean import REASONS
    from curate.dataset import open_dataset
    from curate.errors import UserError
    from curate.quarantine import restore as run_restore

    if unknown := set(reason or ()) - set(REASONS):
        raise UserError(f"There is no reason {min(unknown)!r}: choose among {', '.join(REASONS)}.")
    dataset = open_dataset(data)
    with Catalog.open(dataset.catalog_path) as catalog:
        report = run_restore(dataset, catalog, reason, console.bars)
    for path in report.occupied[:20]:
        console.say(f"Left in the quarantine, because another file has taken its place: {path}")
    console.say(f"Brought {len(report.restored):,} files back into {data}. Next: cli.py clean {data} --dry-run")


@app.command()
def split(
    data: Data = DEFAULT_DATA,
    *,
    out: Annotated[Path | None, typer.Option(help="Where train/, valid/ and test/ go.  [default: DATA itself]")] = None,
    ratio: Annotated[str, typer.Option(help="Shares of train, valid and test.")] = ".8,.1,.1",
    seed: Annotated[int, typer.Option(help="Another seed draws another split.")] = 1337,
    freeze: Annotated[str | None, typer.Option(help="Splits that take nothing new, such as valid,test.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the split and place nothing.")] = False,
) -> None:
    """Split into train, valid and test, so that nothing leaks and nothing moves later.

    Near-duplicates and pictures of one origin stay together; pictures added later never move an old one.

    Example: cli.py split flower_data --ratio .7,.15,.15
    """
    from curate.split import split as run_split

    report = run_split(
        data, out=out, ratio=_shares(ratio), seed=seed, dry_run=dry_run,
        freeze=None if freeze is None else [name for name in freeze.split(",") if name], progress=console.bars,
    )  # fmt: skip
    reports.splitting(report)
    if dry_run:
        console.say(f"Nothing was placed. Next: cli.py split {data}")
    else:
        console.say(f"Wrote {report.out}/train, valid and test. Next: cli.py train {report.out}")


def _shares(ratio: str) -> tuple[float, float, float]:
    from curate.errors import UserError

    try:
        train, valid, test = (float(share) for share in ratio.split(","))
    except ValueError:
        raise UserError(f"The ratio {ratio!r} is no split: give three shares such as .8,.1,.1.") from None
    return train, valid, test


@app.command()
def train(
    data: Data = DEFAULT_DATA,
    *,
    backbone: Annotated[
        str, typer.Option(help="A network of torchvision or timm, or several joined by +.")
    ] = "resnet152",
    weights: Annotated[
        str, typer.Option(help="default, none, a weights tag, or a file with a state dict.")
    ] = "default",
    views: Annotated[int, typer.Option(min=1, help="Views of each training picture; 1 is the clean one alone.")] = 4,
    seed: Annotated[int, typer.Option(help="Decides views, first values and draws.")] = 1337,
    models: Annotated[Path, typer.Option(help="Where checkpoints and the feature bank go.")] = DEFAULT_MODELS,
    names: Annotated[
        Path | None, typer.Option(help="JSON: class folder → name.  [default: aux/, or DATA's own]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Train the last layer and save a checkpoint named after its accuracy on valid.

    Each picture goes through the frozen network once; a second run finds its features in the bank.

    Example: cli.py train flower_data --backbone efficientnet_lite0
    """
    from curate.dataset import open_dataset

    labelled = _names(data, open_dataset(data).labels(), names)
    # Only now: importing torch takes seconds, and a mistyped folder should be said at once.
    from train.training import TrainOptions, train_head

    options = TrainOptions(
        backbone=backbone, weights=weights, views=views, seed=seed, models=models, device=device,
        names=labelled,
    )  # fmt: skip
    report = train_head(data, options, console.bars)
    reports.training(report)
    console.say(f"Wrote {report.checkpoint}. Next: cli.py evaluate {data} --checkpoint {report.checkpoint}")


def _names(data: Path, labels: list[str], file: Path | None) -> dict[str, str]:
    from curate.errors import UserError
    from curate.names import names_for

    names, missing = names_for(data, labels, file)
    if missing:
        raise UserError(
            f"{file} names no class for the folder{'s' if len(missing) > 1 else ''} {', '.join(missing[:5])}"
            f"{', …' if len(missing) > 5 else ''} of {data}: add them to the file."
        )
    return names


Checkpoint = Annotated[Path | None, typer.Option("--checkpoint", help="A checkpoint.  [default: the best in --models]")]
Models = Annotated[Path, typer.Option(help="Where checkpoints are looked for.")]


def _checkpoint(checkpoint: Path | None, models: Path) -> Path:
    from train.checkpoint import best_checkpoint

    return checkpoint or best_checkpoint(models)


@app.command()
def evaluate(
    data: Data = DEFAULT_DATA,
    *,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    split: Annotated[str, typer.Option(help="test, valid or train.")] = "test",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Measure a checkpoint on a split: accuracy with its interval, and each class.

    Example: cli.py evaluate flower_data --split test
    """
    from train.evaluate import evaluate as run_evaluate

    file = _checkpoint(checkpoint, models)
    evaluation = run_evaluate(file, data, split=split, device=device, bank=models / "bank", progress=console.bars)
    reports.evaluation(evaluation)
    console.say(f"That is {file} on {split} of {data}. Next: cli.py predict-random {data} --checkpoint {file}")


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(metavar="FILES…", help="Pictures.")],
    *,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Name what is in pictures, with probabilities. Needs the checkpoint and nothing else.

    Example: cli.py predict rose.jpg tulip.jpg --top-k 3
    """
    from train.predict import Predictor

    file = _checkpoint(checkpoint, models)
    answers = list(Predictor.from_checkpoint(file, device).predict_files(files, top_k=top_k))
    if as_json:
        reports.predictions_as_json(answers)
    else:
        reports.predictions(answers)
        console.say(f"That is what {file} says.")
    reports.fail_on_broken(answers)


@app.command("predict-random")
def predict_random(
    data: Data = DEFAULT_DATA,
    *,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 5,
    seed: Annotated[int | None, typer.Option(help="Draws the same picture again.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Predict one picture drawn from test or valid, and name its true class.

    Example: cli.py predict-random flower_data --seed 7
    """
    from curate.dataset import open_dataset
    from train.random_picture import draw_held_out

    picture, split = draw_held_out(open_dataset(data), seed)
    from train.predict import Predictor

    predictor = Predictor.from_checkpoint(_checkpoint(checkpoint, models), device)
    answers = list(predictor.predict_files([picture.path], top_k=top_k))
    reports.predictions(answers)
    reports.fail_on_broken(answers)
    reports.truth(answers[0], picture.label, predictor.checkpoint)
    console.say(f"The picture is {picture.path}, drawn from {split}. Next: cli.py evaluate {data}")


@app.command()
def demo(
    *,
    folder: Annotated[Path, typer.Option(help="Where the garden is drawn; drawn anew each time.")] = Path(
        "demo_garden"
    ),
    seed: Annotated[int, typer.Option(help="Another seed draws another garden.")] = 1337,
) -> None:
    """Go the whole way once, offline: draw a garden, clean, split, train, predict.

    Example: cli.py demo
    """
    from demo.tour import walk

    tour = walk(folder, seed=seed, progress=console.bars, announce=console.heading)
    reports.tour(tour)
    console.say(
        f"Wrote {folder} and {tour.training.checkpoint}. These flowers were drawn; with photographs of your own in "
        "flower_data/raw/<class>/ the same way is: cli.py clean && cli.py split && cli.py train"
    )


if __name__ == "__main__":
    console.run(app)
