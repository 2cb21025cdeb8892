"""evaluate, predict, predict-random, export, model-card: what a checkpoint is worth, what it says, where it goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from commands import console, training_reports
from commands.option_flags import on_an_engine
from commands.options import (
    Checkpoint,
    Data,
    Device,
    Models,
    Names,
    Wait,
    chosen_checkpoint,
    patience,
    tell_layout,
    tell_split,
)
from commands.shell import command_line
from curate.defaults import (
    DEFAULT_CARD_LICENSE,
    DEFAULT_DATA,
    DEFAULT_DEVICE,
    DEFAULT_MODELS,
    DEFAULT_TOP_K,
    MOST_SEED,
    Format,
)
from curate.files.addresses import is_remote, located

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.prediction_plot import LabelledPrediction

Split = Literal["test", "valid", "val", "validation", "train"]
AnyFormat = Literal[Format, "facts", "onnx", "torchscript", "safetensors", "pt2"]

TopK = Annotated[int, typer.Option(min=1, help="How many classes to name.")]
Views = Annotated[
    int | None, typer.Option(min=1, help="Views of a picture to take the mean of.  [default: the checkpoint's]")
]
Plot = Annotated[Path | None, typer.Option(help="Draw pictures and probabilities into this PNG.")]
Explain = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Draw there what in each picture spoke for its first guess.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are not as this program wrote them.")]
Abstain = Annotated[float | None, typer.Option(help="Precision wanted, such as .98; below it: not sure.")]


@on_an_engine
def evaluate(
    data: Data = DEFAULT_DATA,
    *,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    split: Annotated[
        Split | None, typer.Option(help="The split to measure on.  [default: test, or valid where there is none]")
    ] = None,
    plain: Annotated[
        Path | None,
        typer.Option("--data", parser=located, help="Measure on all of this folder of class folders, split or not."),
    ] = None,
    views: Views = None,
    abstain: Abstain = None,
    out: Annotated[Path | None, typer.Option(help="A folder for all figures, as JSON and CSV.")] = None,
    force: Force = False,
    device: Device = DEFAULT_DEVICE,
) -> None:
    """Measure a checkpoint on a split, with an interval.

    Test is opened by this command alone, and the record beside the checkpoint says how often.
    A folder of class folders that is not split is measured as it is.

    Example: cli.py evaluate flower_data --split test
    """
    from train.evaluate import evaluate as run_evaluate
    from train.evaluation_files import require_evaluation_place, write_evaluation

    if out:
        require_evaluation_place(out, force=force)
    data = plain or data
    file = chosen_checkpoint(checkpoint, models, data)
    (tell_layout if plain else tell_split)(data)
    evaluation = run_evaluate(
        file, data, split=split, plain=plain is not None, device=device, bank=models / "bank",
        views=views, abstain=abstain, progress=console.bars,
    )  # fmt: skip
    training_reports.evaluation(evaluation)
    if out:
        write_evaluation(evaluation, out, force=force)
    if evaluation.split:
        following = command_line("predict-random", data, "--checkpoint", file)
    elif is_remote(data):  # `predict` reads files of this disk
        following = command_line("model-card", "--checkpoint", file)
    else:
        following = command_line("predict", Path(evaluation.paths[0]), "--checkpoint", file)
    measured = evaluation.split or "all pictures"
    console.say(f"That is {file} on {measured} of {data}. Next: {following}")


@on_an_engine
def predict(
    files: Annotated[list[str], typer.Argument(metavar="FILES…", help="Pictures, folders, or - for paths on stdin.")],
    *,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    top_k: TopK = DEFAULT_TOP_K,
    views: Views = None,
    abstain: Abstain = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")] = False,
    plot: Plot = None,
    explain: Explain = None,
    device: Device = DEFAULT_DEVICE,
) -> None:
    """Name what is in pictures, with probabilities.

    Needs the checkpoint and nothing else.

    Example: cli.py predict rose.jpg tulip.jpg --top-k 3

    With heat maps: cli.py predict rose.jpg --explain maps
    """
    if plot:
        from curate.rendering import require_place

        require_place(plot)
    from curate.image import BrokenImage
    from train.answer_time import timed
    from train.inputs import expand
    from train.predict import Predictor
    from train.prediction_plot import MOST, LabelledPrediction

    maps = None
    if explain:
        from train.heat_files import HeatMapFolder

        maps = HeatMapFolder(explain)
    file = chosen_checkpoint(checkpoint, models)
    predictor = Predictor.from_checkpoint(file, device, views=views, abstain=abstain)
    failures = training_reports.Failures()
    drawn: list[LabelledPrediction] = []
    views, spent = predictor.views.count, 0.0
    with console.counter("Predicting") as advance:
        for answer, seconds in timed(predictor.predict_files(expand(files), top_k=top_k)):
            spent += seconds
            drawing = maps.draw(predictor, answer) if maps and not isinstance(answer, BrokenImage) else None
            place, heat = drawing or (None, None)
            if as_json:
                training_reports.prediction_as_json(answer, file, place, views=views, seconds=seconds)
            else:
                training_reports.prediction(answer, place)
            failures.note(answer)
            if plot and not isinstance(answer, BrokenImage) and len(drawn) < MOST:
                drawn.append(LabelledPrediction(answer, heat=heat))
            advance(1)
    if plot:
        _plot(drawn, plot)
    if not as_json and failures.answers > len(failures.broken):
        if views > 1:
            each = 1e3 * spent / failures.answers
            console.say(f"Each answer is the mean of {views} views: {each:,.0f} ms a picture. --views 1 looks once.")
        console.say(f"That is what {file} says, which knows {training_reports.classes_in_words(predictor.checkpoint)}.")
    failures.end()


def predict_random(
    data: Data = DEFAULT_DATA,
    *,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    top_k: TopK = DEFAULT_TOP_K,
    seed: Annotated[int | None, typer.Option(min=0, max=MOST_SEED, help="Draws the same picture again.")] = None,
    plot: Plot = None,
    device: Device = DEFAULT_DEVICE,
) -> None:
    """Predict a picture drawn from test or valid.

    Names its true class beside the answer.

    Example: cli.py predict-random flower_data --seed 7
    """
    if plot:
        from curate.rendering import require_place

        require_place(plot)
    from curate.splitting.since_split import open_current_split
    from train.pictures import draw_held_out, spelt_as

    dataset = open_current_split(data)
    picture, split = draw_held_out(dataset, seed)
    file = chosen_checkpoint(checkpoint, models, data)
    from train.evaluate import require_answers_for_split
    from train.predict import Predictor

    predictor = Predictor.from_checkpoint(file, device)
    (picture,) = spelt_as(predictor.checkpoint.labels, [picture])
    require_answers_for_split(file, predictor.checkpoint, dataset, split)
    (answer,) = predictor.predict_files([picture.path], top_k=top_k)
    training_reports.prediction(answer)
    failures = training_reports.Failures()
    failures.note(answer)
    failures.end()
    training_reports.truth(answer, picture.label, predictor.checkpoint)
    if plot and not isinstance(answer, Exception):
        from train.prediction_plot import LabelledPrediction

        _plot([LabelledPrediction(answer, picture.label, predictor.checkpoint.name_of(picture.label))], plot)
    following = command_line("evaluate", data, "--checkpoint", file)
    console.say(f"The picture is {picture.path}, drawn from {split}; {file} answered. Next: {following}")


def _plot(answers: Sequence[LabelledPrediction], file: Path) -> None:
    """Draw the answers; where there is none, say so and draw nothing."""
    from curate.rendering import save_drawing, without_font
    from train.prediction_plot import plot_predictions

    if answers:
        save_drawing(plot_predictions(answers), file)
        names = [guess.name for one in answers for guess in one.prediction.guesses]
        if missing := without_font([*names, *(one.truth_name for one in answers)]):
            console.note(f"Note: {missing}")
        console.heading(f"Drew {len(answers)} in {file}")


def export(
    data: Data = DEFAULT_DATA,
    *,
    format_: Annotated[AnyFormat, typer.Option("--format", help="The first four: DATA; the rest: a checkpoint.")],
    out: Annotated[
        Path | None, typer.Option(parser=located, help="A folder, or a checkpoint's file.  [default: beside it]")
    ] = None,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    names: Names = None,
    convert: Annotated[
        bool, typer.Option("--convert", help="Of DATA: write what torchvision cannot read as PNG or JPEG.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Of a checkpoint: replace files not written here.")] = False,
    opset: Annotated[int, typer.Option(min=0, help="Of ONNX: the operator set.  [default: PyTorch's]")] = 0,
    ir_version: Annotated[int, typer.Option(min=0, help="Of ONNX: its IR version.  [default: PyTorch's]")] = 0,
    wait: Wait = False,
) -> None:
    """Write the dataset, or a checkpoint, for other tools.

    A checkpoint's file is read back and compared on pictures of DATA before it is kept.
    `--format facts` writes what is known of each picture as Parquet, and `import-facts` takes it.

    Example: cli.py export flower_data --format onnx
    """
    if format_ == "facts":
        from curate.facts import export_facts
        from curate.plurals import with_noun

        facts = export_facts(data, _beside(data, out, format_), wait=patience(wait), progress=console.bars)
        written_files = with_noun(facts.files, "Parquet file")
        console.say(f"Wrote the facts of {with_noun(facts.pictures, 'file')} to {facts.out}: {written_files}.")
        return
    if format_ in get_args(Format):
        from curate.export import export as export_dataset
        from curate.plurals import with_noun

        target = _beside(data, out, format_)
        report = export_dataset(
            data, target, format=format_, names=names, convert=convert, wait=patience(wait),  # type: ignore[arg-type]
            progress=console.bars,
        )  # fmt: skip
        counts = ", ".join(f"{count:,} {split}" for split, count in report.counts.items())
        for label, folder in report.renamed.items():
            console.say(f"The class {label} lies in {folder}, as its own name is another's on some disks, or too long.")
        for remark in report.remarks():
            console.say(remark)
        written_files = with_noun(report.files, "file")
        console.say(f"Wrote {written_files} to {report.out}: {counts} pictures of {report.labels} classes.")
        return
    from curate.splitting.since_split import open_current_split
    from train.export import export as export_checkpoint
    from train.pictures import labelled_pictures

    # Of valid: to compare on test would be to open it.
    pictures = [picture.path for picture in labelled_pictures(open_current_split(data), "valid")]

    written = export_checkpoint(
        chosen_checkpoint(checkpoint, models, data), format_, pictures, out=out, force=force, opset=opset,
        ir_version=ir_version, progress=console.bars,
    )  # fmt: skip
    if written.remark:
        console.say(f"Note: {written.remark}")
    console.say(
        f"Wrote {written.file} and {written.beside}; on {written.pictures} pictures its probabilities differ from the "
        f"checkpoint's by {written.largest_difference:.1e} at most."
    )


def _beside(data: Path, out: Path | None, format_: str) -> Path:
    """Where an export of a dataset goes: where it was asked for, or beside the dataset."""
    from curate.errors import UserError

    resolved = data.resolve()
    if out is None and (not resolved.name or (is_remote(data) and len(data.parts) < 3)):
        raise UserError(f"Beside {resolved} there is no place for an export: give one with --out.")
    return out or resolved.with_name(f"{resolved.name}_{format_}")


def model_card(
    *,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    out: Annotated[Path | None, typer.Option(help="The file.  [default: beside the checkpoint]")] = None,
    title: Annotated[str | None, typer.Option(help="The card's title.")] = None,
    license_: Annotated[
        str, typer.Option("--license", help="A licence's identifier, such as cc-by-sa-4.0.")
    ] = DEFAULT_CARD_LICENSE,
    force: Force = False,
) -> None:
    """Write what others must know of a checkpoint.

    Example: cli.py model-card --license cc-by-sa-4.0
    """
    from train.model_card import write_model_card

    card = write_model_card(chosen_checkpoint(checkpoint, models), out, title=title, license_=license_, force=force)
    console.say(f"Wrote {card}. Next: read it, and say what the figures cannot.")
