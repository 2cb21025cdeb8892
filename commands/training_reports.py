"""How the reports of training and prediction are shown to a person."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from commands.console import say, table
from commands.curation_reports import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curate.image import BrokenImage
    from demo.tour import Tour
    from train.checkpoint import Checkpoint
    from train.evaluate import Evaluation
    from train.metrics import Accuracy
    from train.predict import Prediction
    from train.training import TrainingReport


def training(report: TrainingReport) -> None:
    """What was learnt from, how well it went, and how long each part took."""
    for broken in report.broken[:MOST_ROWS]:
        say(f"Left out: {broken.path}: {broken.reason}.")
    for note in report.notes:
        say(f"Note: {note}")
    seconds = ", ".join(f"{part} {spent:.1f} s" for part, spent in report.seconds.items())
    say(
        f"{report.train_pictures:,} training pictures of {report.classes} classes in {report.views} view(s), through "
        f"{' + '.join(report.backbones)} on {report.device} in {report.precision}; "
        f"an epoch shows {report.coverage:.0%} of them."
    )
    say(f"Time: {seconds}.")
    say(f"Valid: {_accuracy(report.valid)}.")


def evaluation(report: Evaluation) -> None:
    """Each class, and the accuracy with its interval."""
    share = report.accuracy.per_class
    seen = report.accuracy.confusion.sum(axis=1)
    rows = [
        (label, name, int(n), f"{right:.1%}")
        for label, name, n, right in zip(report.labels, report.names, seen, share, strict=True)
        if n
    ]
    table("Classes", ("folder", "name", "n", "right"), rows)
    for broken in report.broken[:MOST_ROWS]:
        say(f"Left out: {broken.path}: {broken.reason}.")
    say(f"Accuracy: {_accuracy(report.accuracy)}; top-5 {report.accuracy.top5:.2%}.")


def _accuracy(accuracy: Accuracy) -> str:
    interval = accuracy.interval
    return (
        f"{accuracy.percent()}% ({accuracy.correct:,} of {accuracy.n:,}; 95% interval {interval.low:.1%} to "
        f"{interval.high:.1%}), mean per class {accuracy.mean_per_class:.2%}"
    )


def predictions(answers: Sequence[Prediction | BrokenImage]) -> None:
    """The likeliest classes of each file."""
    for answer in answers:
        if isinstance(answer, Exception):
            continue
        rows = [(guess.name, guess.label, f"{guess.probability:.1%}") for guess in answer.guesses]
        table(answer.path, ("name", "folder", "probability"), rows)


def predictions_as_json(answers: Sequence[Prediction | BrokenImage]) -> None:
    """One JSON object a line, in the order of the files; a broken file has `error` in place of `guesses`."""
    for answer in answers:
        if isinstance(answer, Exception):
            line: dict[str, object] = {"path": answer.path, "error": answer.reason}
        else:
            line = {"path": answer.path, "guesses": [vars(guess) for guess in answer.guesses]}
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")


def fail_on_broken(answers: Sequence[Prediction | BrokenImage]) -> None:
    """Say which files could not be predicted, and end with exit code 2."""
    from curate.errors import UserError

    broken = [answer for answer in answers if isinstance(answer, Exception)]
    if broken:
        listed = "; ".join(str(answer) for answer in broken[:5]) + ("; …" if len(broken) > 5 else "")
        raise UserError(f"{len(broken)} of {len(answers)} files could not be predicted: {listed}. Give pictures.")


def truth(answer: Prediction | BrokenImage, label: str, checkpoint: Checkpoint) -> None:
    """The true class of a picture beside the first guess."""
    assert not isinstance(answer, Exception)
    name = dict(zip(checkpoint.labels, checkpoint.names, strict=True)).get(label, label)
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
    say(f"Accuracy on valid: {_accuracy(report.training.valid)}.")
    say(f"Accuracy on test, which nothing was chosen on: {_accuracy(report.evaluation.accuracy)}.")
    guess = report.prediction.guesses[0]
    say(
        f"A picture drawn at random: {report.prediction.path}: {guess.name}, {guess.probability:.1%} "
        f"(true: {report.true_label})."
    )
