"""How the reports of training and prediction are shown to a person."""

from __future__ import annotations

from dataclasses import asdict
from math import isnan
from typing import TYPE_CHECKING

from commands.console import json_line, note, say, table
from commands.report_lines import MOST_ROWS, unreadable
from curate.plurals import with_noun

_MOST_CONFUSED = 10

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from curate.image import BrokenImage, BrokenPicture
    from demo.tour import Tour
    from train.budget import Speed, TrainingPlan
    from train.checkpoint import Checkpoint
    from train.evaluate import SplitFigures
    from train.features.bank_shelf import ShelvedBank
    from train.folds import CrossValidation
    from train.heads.held_out import ViewsGain
    from train.metrics import Accuracy
    from train.optimising.fitting import Epoch
    from train.optimising.unfinished import KeptRun
    from train.predict import Prediction
    from train.recipe import Recipe
    from train.run_folder import RunStory
    from train.summary import Summary
    from train.sweep import Sweep
    from train.training import TrainingReport


def _left_out(pictures: Sequence[BrokenPicture]) -> None:
    """The broken ones each, and of those that may be whole, but that nothing here reads, how many for each reason."""
    from curate.decoding.formats import is_not_readable

    broken = [picture for picture in pictures if not is_not_readable(picture.reason)]
    for picture in broken[:MOST_ROWS]:
        say(f"Left out: {picture.path}: {picture.reason}.")
    unreadable([(picture.path, picture.reason) for picture in pictures if is_not_readable(picture.reason)])


def training(report: TrainingReport) -> None:
    """What was learnt from, how well it went, and how long each part took."""
    _left_out(report.broken)
    for sentence in report.notes:
        say(f"Note: {sentence}")
    seconds = ", ".join(f"{part} {spent:.1f} s" for part, spent in report.seconds.items())
    say(
        f"{with_noun(report.train_pictures, 'training picture')} of {with_noun(report.classes, 'class', 'classes')} in "
        f"{with_noun(report.views, 'view')}, through "
        f"{' + '.join(report.backbones)} on {report.device} in {report.precision}; "
        f"an epoch shows {report.coverage:.0%} of them."
    )
    say(f"Time: {seconds}.")
    if report.views_gain is not None:
        say(_views_in_words(report.views_gain, report.answer_seconds))
    say(f"Valid: {accuracy_in_words(report.valid)}{from_views(report.asked_views)}.")


def from_views(views: int) -> str:
    """What follows a figure of answers that are each the mean of several views."""
    return "" if views == 1 else f", each answer the mean of {views} views"


def _views_in_words(found: ViewsGain, seconds: tuple[float, float] | None) -> str:
    """What more views at prediction gained on held-out pictures, what becomes of it, and what it costs."""
    gained = (
        f"{found.views} views answered right {found.gain:+.1%} ± {found.error:.1%} more often than one, on "
        f"{with_noun(found.pictures, 'held-out picture')}"
    )
    if not found.pays:
        return f"{gained}: no more than chance gives, so answers come from one."
    assert seconds is not None
    one, several = seconds
    return (
        f"{gained}: {1e3 * several:,.0f} ms a picture in place of {1e3 * one:,.0f}. Answers come from {found.views}, "
        f"unless --views says otherwise."
    )


def epoch(figures: Epoch) -> None:
    """One line an epoch, among the bars."""
    loss = figures.loss if figures.plain_loss is None else figures.plain_loss
    line = f"Epoch {figures.number}: loss {loss:.3f}, {figures.train_accuracy:.1%} right"
    if figures.valid_accuracy is not None:
        valid_loss = "" if figures.valid_loss is None else f"loss {figures.valid_loss:.3f}, "
        line += f"; valid {valid_loss}{figures.valid_accuracy:.2%} right"
    note(line)


def runs(stories: Sequence[RunStory]) -> None:
    """Each run's data, options and figures."""
    rows = [
        (
            one.folder.name,
            one.data,
            " ".join(f"{key}={value}" for key, value in one.changes.items()) or "as in the recipe",
            one.epochs,
            one.state,
            f"{one.valid.percent()}%" if one.valid else "",
            one.checkpoint,
        )
        for one in stories
    ]
    if rows:
        table("Runs", ("run", "data", "options", "epochs", "state", "valid", "checkpoint"), rows)


def unfinished(kept: Sequence[KeptRun]) -> None:
    """Each unfinished run's recipe, network, epochs and size."""
    rows = [(one.file.name, one.recipe, one.backbone, one.epochs, f"{one.size / 1e6:,.1f} MB") for one in kept]
    if rows:
        table("Unfinished runs", ("file", "recipe", "network", "epochs", "size"), rows)


def evaluation(report: SplitFigures) -> None:
    """Each class, what is taken for what, and the accuracy with its interval."""
    share = report.accuracy.per_class
    seen = report.accuracy.confusion.sum(axis=1)
    rows = [
        (label, name, int(n), f"{right:.1%}")
        for label, name, n, right in zip(report.labels, report.names, seen, share, strict=True)
        if n
    ]
    table("Classes", ("folder", "name", "n", "right"), rows)
    evaluation_in_words(report)


def evaluation_in_words(report: SplitFigures) -> None:
    """What is taken for what, how far confidence can be trusted, what was left out, and the accuracy."""
    from train.metrics import most_confused
    from train.pictures import counted

    pairs = most_confused(report.accuracy, _MOST_CONFUSED)
    if pairs:
        taken = [(report.names[pair.truth], report.names[pair.answer], pair.count) for pair in pairs]
        table("Most often confused", ("true", "taken for", "pictures"), taken)
    _left_out(report.broken)
    if report.views > 1:
        say(_views_computed(report))
    trust = report.reliance
    say(
        f"Calibration: expected error {trust.error:.3f} at temperature {trust.temperature:.2f} "
        f"({trust.error_at_one:.3f} without)."
    )
    if report.strangers:
        say(f"Like none of the classes, by their features: {report.strangers:,} of {report.accuracy.n:,}.")
    if report.abstaining:
        found, answered = report.abstaining.found, report.abstaining.answered
        share_right = report.abstaining.right / answered if answered else float("nan")
        say(
            f"Abstaining below a confidence of {found.threshold:.3f} and from strangers: {answered:,} of "
            f"{report.accuracy.n:,} answered, "
            f"{share_right:.1%} of them right (asked for: {found.wanted:.1%})."
        )
    if report.untaught:
        say(
            f"Left out of these figures, as train has no such class: {counted(report.untaught)}. Counted as mistakes "
            f"they make the accuracy {report.share_of_all:.2%}."
        )
    if report.openings:
        say(f"Test has been opened {with_noun(report.openings, 'time')} with this checkpoint.")
    say(f"Accuracy: {accuracy_in_words(report.accuracy)}; top-5 {report.accuracy.top5:.2%}.")


def _views_computed(report: SplitFigures) -> str:
    """How many views an answer is the mean of, and what they cost where that was measured."""
    asked = f"Each answer is the mean of {report.views} views"
    if report.computed is None or report.seconds is None:
        return f"{asked}."
    if not report.computed:
        return f"{asked}, all of which the bank had."
    each = 1e3 * report.seconds / report.computed
    return (
        f"{asked}; {report.computed:,} went through a network, in {report.seconds:.1f} s: {each:,.0f} ms each. "
        f"--views 1 looks once."
    )


def _imagenet(speed: Speed) -> str:
    """Top-1 as published; what stands side by side has no such figure, only one that it is ranked by."""
    if isnan(speed.quality):
        return "–"
    return f"–, ranked as {speed.quality:.1f}" if speed.parts else f"{speed.quality:.1f}"


def plan(found: TrainingPlan) -> None:
    """What each candidate would take, which is taken, and why."""
    counts = sorted(found.estimates[0].seconds)
    rows = [
        (
            one.speed.backbone,
            _imagenet(one.speed),
            f"{1e3 * one.speed.answer(1):.0f} / {1e3 * one.speed.answer(4):.0f}",
            " / ".join(f"{one.seconds[count]:,.0f}" for count in counts),
            f"{one.speed.download:,.0f}" if one.speed.download else "",
            one.verdict,
        )
        for one in found.estimates
    ]
    views = " / ".join(map(str, counts))
    columns = ("backbone", "ImageNet, %", "answer, ms, 1 / 4 views", f"run, s, {views} views", "download, s", "outcome")
    table(f"A budget of {found.budget:,.0f} s, best first", columns, rows)
    for reason in found.why:
        say(reason)


def recipes(listed: Sequence[Recipe]) -> None:
    """Each recipe's name, what it does and what it reproduces."""
    rows = [(one.name, one.summary, one.reproduces, one.reported) for one in listed]
    table("Recipes", ("name", "what it does", "reproduces", "as reported there"), rows)


def summary(report: Summary) -> None:
    """Each stage with its output and parameters, and what the whole takes."""
    several = len(report.crop) > 1
    rows = [
        (
            f"{line.part}: {line.stage}" if several or line.part == "head" else line.stage,
            f"{line.kind} {'×'.join(map(str, line.output))}",
            f"{line.parameters:,}",
            f"{line.trained:,}",
        )
        for line in report.lines
    ]
    names = dict.fromkeys(line.part for line in report.lines if line.part != "head")
    totals = ("all", "", f"{report.parameters:,}", f"{report.trained:,}")
    columns = ("stage", "gives", "parameters", "trained")
    table(f"{' + '.join(names)}, and the head", columns, [*rows, totals], last_is_total=True)
    sides = " and ".join(f"{side} × {side}" for side in dict.fromkeys(report.crop))
    say(
        f"A picture of {sides} pixels takes {report.operations / 1e9:.1f} G operations; the weights take "
        f"{4 * report.parameters / 1e6:,.0f} MB in float32."
    )
    if report.memory:
        free, whole = report.memory
        say(f"Memory of {report.device}: {free / 1e9:.1f} of {whole / 1e9:.1f} GB are free.")


def banks(listed: Sequence[ShelvedBank]) -> None:
    """Each bank's network, precision, features and size."""
    rows = [
        (
            one.architecture,
            f"{one.precision}, compiled" if one.compiled else one.precision,
            one.features,
            f"{one.size / 1e6:,.1f} MB",
        )
        for one in listed
    ]
    if rows:
        table("Feature banks", ("network", "precision", "features", "size"), rows)


def cross_validation(report: CrossValidation) -> None:
    """Each fold's accuracy, their mean and spread."""
    rows = [(number + 1, fold.accuracy.n, f"{fold.accuracy.top1:.2%}") for number, fold in enumerate(report.folds)]
    table("Folds", ("fold", "n", "right"), rows)
    for sentence in report.notes:
        say(f"Note: {sentence}")
    pooled = accuracy_in_words(report.pooled)
    say(f"Mean {report.mean:.2%}, standard deviation {report.spread:.2%}. All folds: {pooled}.")


def sweep(report: Sweep) -> None:
    """The settings that went furthest, and whether the winner won by more than chance."""
    names = list(report.axes)
    rows = [
        (*(f"{getattr(one.settings, name):g}" for name in names), one.folds, f"{one.accuracy:.2%}")
        for one in report.trials[:10]
    ]
    table(f"Sweep: {report.fits} fits on the bank, by folds within train", (*names, "folds", "right"), rows)
    for sentence in report.notes:
        say(f"Note: {sentence}")
    if report.best is report.given:
        say("Nothing beat what was given.")
        return
    verdict = "is taken" if report.chosen != report.given.settings else "is not taken: it may be luck"
    say(f"The best gains {report.gain:+.2%} ± {report.gain_error:.2%} over what was given, and {verdict}.")


def accuracy_in_words(accuracy: Accuracy) -> str:
    """The percentage with its counts, its interval and the mean of the classes."""
    interval = accuracy.interval
    return (
        f"{accuracy.percent()}% ({accuracy.correct:,} of {accuracy.n:,}; 95% interval {interval.low:.1%} to "
        f"{interval.high:.1%}), mean per class {accuracy.mean_per_class:.2%}"
    )


def prediction(answer: Prediction | BrokenImage, heat_map: Path | None = None) -> None:
    """The likeliest classes of one file, and where its heat map was drawn; a broken one is named at the end."""
    if isinstance(answer, Exception):
        return
    rows = [(guess.name, guess.label, f"{guess.probability:.1%}") for guess in answer.guesses]
    remarks = ("" if answer.sure else ": not sure") + (": like none of the classes" if answer.is_stranger else "")
    table(answer.path + remarks, ("name", "folder", "probability"), rows)
    if heat_map:
        say(f"What spoke for {answer.guesses[0].name} is drawn in {heat_map}.")


def classes_in_words(checkpoint: Checkpoint) -> str:
    """How many classes a checkpoint knows, and how it fared on valid."""
    valid = checkpoint.metrics.get("valid")
    figure = f"; on valid {valid.percent()}% of {valid.n:,}{from_views(checkpoint.asked_views)}" if valid else ""
    return f"{len(checkpoint.labels):,} classes{figure}"


def prediction_as_json(
    answer: Prediction | BrokenImage, checkpoint: Path, heat_map: Path | None = None, *, views: int, seconds: float
) -> None:
    """One JSON object on a line, with the file that answers; a broken file has `error` in place of `guesses`.

    Where a heat map was drawn, `heat_map` is its file. An answer that is the mean of several `views` has the `seconds`
    that it was waited for, too.
    """
    if isinstance(answer, Exception):
        line: dict[str, object] = {"path": answer.path, "error": answer.reason}
    else:
        line = {"path": answer.path, "guesses": [asdict(guess) for guess in answer.guesses], "sure": answer.sure}
        line |= {"familiarity": answer.familiarity, "like_no_class": answer.is_stranger}
        line |= {"views": views, **({"seconds": round(seconds, 4)} if views > 1 else {})}
        line |= {"heat_map": str(heat_map)} if heat_map else {}
    json_line({**line, "checkpoint": str(checkpoint)})


class Failures:
    """The files that could not be predicted, to be said when all others have been."""

    def __init__(self) -> None:
        self.answers = 0
        self.broken: list[BrokenImage] = []

    def note(self, answer: Prediction | BrokenImage) -> None:
        """Count an answer, and keep it if it is none."""
        self.answers += 1
        if isinstance(answer, Exception):
            self.broken.append(answer)

    def end(self) -> None:
        """Raise `UserError` where there were any, which ends the command with exit code 2."""
        from curate.decoding.formats import is_not_readable
        from curate.errors import UserError

        if self.broken:
            listed = "; ".join(str(one) for one in self.broken[:5]) + ("; …" if len(self.broken) > 5 else "")
            advice = "" if all(is_not_readable(one.reason) for one in self.broken) else " Give pictures."
            raise UserError(f"{len(self.broken)} of {self.answers} files could not be predicted: {listed}.{advice}")


def truth(answer: Prediction | BrokenImage, label: str, checkpoint: Checkpoint) -> None:
    """The true class of a picture beside the first guess."""
    assert not isinstance(answer, Exception)
    name = checkpoint.name_of(label)
    verdict = "right" if answer.guesses[0].label == label else "wrong"
    say(f"True class: {name} (folder {label}): the first guess is {verdict}.")


def tour(report: Tour) -> None:
    """What was scraped, planted against found, and the figures of the demo's classifier."""
    services = len({one.source for one in report.scraping.yields})
    say(
        f"Scraped: {report.scraping.new} of {len(report.garden.files)} drawings, from {services} services of the local "
        f"web; each is credited in {report.scraping.credits}."
    )
    rows = [(kind.value, planted, report.found.get(kind, 0)) for kind, planted in report.planted.items()]
    totals = ("all", sum(report.planted.values()), sum(report.found.values()))
    table("Faults in the garden", ("kind", "planted", "found"), [*rows, totals], last_is_total=True)
    say(f"Intact drawings set aside by mistake: {len(report.wrongly_removed)}.")
    proof = report.splitting.proof
    say(f"Near-duplicate pairs across train, valid and test: {proof.near_duplicates} of {proof.pictures:,} pictures.")
    say(f"Accuracy on valid: {accuracy_in_words(report.training.valid)}.")
    say(f"Accuracy on test, which nothing was chosen on: {accuracy_in_words(report.evaluation.accuracy)}.")
    guess = report.prediction.guesses[0]
    say(
        f"A picture drawn at random: {report.prediction.path}: {guess.name}, {guess.probability:.1%} "
        f"(true: {report.true_label})."
    )
