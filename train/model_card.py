"""A model card in Hugging Face's form, written from the checkpoint: nothing in it that was not measured or recorded."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from curate.defaults import DEFAULT_CARD_LICENSE
from curate.files.ours import is_signed, require_ours, signed, write_ours
from curate.files.reading import sha256_of
from curate.printable import printable
from curate.program import COMMAND
from train.card_licence import require_allowed
from train.checkpoint import Checkpoint, load_checkpoint
from train.metrics import most_confused, wilson_interval
from train.test_log import Opening, content_of, read_openings

# What Markdown and GitHub's dialect of it read as more than text; a bare address becomes a link without any sign.
_MARKDOWN = re.compile(r"[\\`*_\[\]<>|#~&!@$]|://|(?<=www)\.", re.IGNORECASE)

_MOST_CONFUSED = 8
_FEWEST = 5  # valid pictures of a class below which its own figure says little


@dataclass(frozen=True)
class _Facts:
    """All that a card is written from."""

    file: str
    checkpoint: Checkpoint
    openings: list[Opening]
    title: str
    license: str


def write_model_card(
    checkpoint: Path,
    out: Path | None = None,
    *,
    title: str | None = None,
    license_: str = DEFAULT_CARD_LICENSE,
    force: bool = False,
) -> Path:
    """Write the card of a checkpoint beside it as `<name>.md`, or at `out`: the hub reads it as `README.md`.

    `license_` is a licence's identifier on the hub; the pictures' own licences decide what it may be. Raises UserError
    where these forbid it, where the file can't be written, and where one is there that is not, or no longer, as this
    wrote it, unless `force` says that it may go.
    """
    out = out or checkpoint.with_suffix(".md")
    ours = sha256_of(out) if _is_ours(out) else None
    require_ours(out, known=ours, force=force)
    write_ours(out, signed(model_card(checkpoint, title=title, license_=license_)), known=ours, force=force)
    return out


def _is_ours(card: Path) -> bool:
    try:
        return is_signed(card)
    except OSError:
        return False


def model_card(checkpoint: Path, *, title: str | None = None, license_: str = DEFAULT_CARD_LICENSE) -> str:
    """The card as Markdown with its YAML header: data, counts, recipe, figures with intervals, limits, use.

    Test's figures come from the record beside the checkpoint, and the card says how often test was opened.
    """
    loaded = load_checkpoint(checkpoint)
    require_allowed(license_, loaded.dataset.get("credits", []))
    backbones = " + ".join(backbone.name for backbone in loaded.backbones)
    facts = _Facts(
        file=printable(checkpoint.name),
        checkpoint=loaded,
        openings=read_openings(checkpoint, content_of(loaded)),
        title=printable(title or f"{len(loaded.labels)} classes through {backbones}"),
        license=printable(license_),
    )
    parts = (_header, _opening, _data, _recipe, _figures, _limits, _use, _classes)
    return "\n\n".join("\n".join(part(facts)) for part in parts) + "\n"


def _header(facts: _Facts) -> Iterator[str]:
    """YAML, written as JSON wherever a text could be read as something else: JSON is YAML."""
    yield "---"
    yield f"license: {json.dumps(facts.license)}"
    yield "library_name: florilegium"
    yield "pipeline_tag: image-classification"
    yield "tags:\n- image-classification\n- florilegium"
    yield "metrics:\n- accuracy"
    yield "model-index:"
    yield f"- name: {_quoted(facts.title)}"
    yield "  results:"
    for split, accuracy in facts.checkpoint.metrics.items():
        yield from _result(split, accuracy.top1, facts, mean_per_class=accuracy.mean_per_class)
    if (first := _first_look(facts)) and first.correct is not None:
        yield from _result("test", first.correct / first.pictures, facts)
    yield "---"


def _result(split: str, top1: float, facts: _Facts, mean_per_class: float | None = None) -> Iterator[str]:
    yield "  - task: {type: image-classification}"
    name = (facts.checkpoint.dataset.get("fingerprint") or "unknown")[:12]
    yield f"    dataset: {{type: imagefolder, name: {json.dumps(f'pictures {name}')}, split: {split}}}"
    yield "    metrics:"
    yield f"    - {{type: accuracy, value: {top1:.6f}}}"
    if mean_per_class is not None:
        yield f"    - {{type: accuracy, name: mean per class, value: {mean_per_class:.6f}}}"


def _opening(facts: _Facts) -> Iterator[str]:
    checkpoint = facts.checkpoint
    yield f"# {_text(facts.title)}"
    yield ""
    networks = " and ".join(
        f"{_text(backbone.name)} ({backbone.library}, weights: {_text(backbone.weights)})"
        for backbone in checkpoint.backbones
    )
    trained = "with more than its last layer trained" if checkpoint.recipe.get("tuning") else "frozen"
    yield (
        f"Names what is in a picture, one of {len(checkpoint.labels)} classes. A classifier on the features of "
        f"{networks}, {trained}; made {_text(checkpoint.created)} with Florilegium."
    )


def _data(facts: _Facts) -> Iterator[str]:
    dataset = facts.checkpoint.dataset
    yield "## Data"
    yield ""
    yield "| split | pictures | classes | fewest of a class | median | most |"
    yield "|---|---:|---:|---:|---:|---:|"
    pictures: Mapping[str, Mapping[str, int]] = dataset.get("pictures", {})
    for split, counts in pictures.items():
        sizes = [*counts.values()] or [0]
        yield (f"| {split} | {sum(sizes):,} | {len(counts)} | {min(sizes):,} | {median(sizes):,g} | {max(sizes):,} |")
    yield ""
    yield from _origins(dataset.get("credits", []))
    yield f"Fingerprint, SHA-256 over every picture's label, split and content: `{dataset.get('fingerprint')}`."


def _origins(found: Sequence[tuple[str, str, int]]) -> Iterator[str]:
    """The pictures that were found on the web, by source and licence."""
    if not found:
        return
    yield "Of these pictures some were found on the web:"
    yield ""
    yield "| source | licence | pictures |"
    yield "|---|---|---:|"
    for source, licence, count in found:
        yield f"| {_text(source)} | {_text(licence or 'unknown')} | {count:,} |"
    yield ""


def _recipe(facts: _Facts) -> Iterator[str]:
    yield "## Recipe"
    yield ""
    yield "| option | value |"
    yield "|---|---|"
    for name, value in _flat(facts.checkpoint.recipe):
        yield f"| {_text(name)} | {_cell(value)} |"
    versions = ", ".join(f"{_text(package)} {_text(version)}" for package, version in facts.checkpoint.versions.items())
    yield ""
    yield f"Versions: {versions}."
    if facts.checkpoint.history:
        last = facts.checkpoint.history[-1]
        shown = ", ".join(f"{_text(name)} {value:g}" for name, value in last.items() if isinstance(value, int | float))
        yield ""
        yield f"The last of {len(facts.checkpoint.history)} epochs: {shown}."


def _figures(facts: _Facts) -> Iterator[str]:
    checkpoint = facts.checkpoint
    yield "## Figures"
    yield ""
    yield "| split | n | accuracy | 95% interval (Wilson) | top-5 | mean per class |"
    yield "|---|---:|---:|---|---:|---:|"
    for split, accuracy in checkpoint.metrics.items():
        low, high = accuracy.interval.low, accuracy.interval.high
        yield (
            f"| {split} | {accuracy.n:,} | {accuracy.percent()}% | {low:.1%} to {high:.1%} | {accuracy.top5:.2%} "
            f"| {accuracy.mean_per_class:.2%} |"
        )
    first = _first_look(facts)
    if first and first.correct is not None:
        interval = wilson_interval(first.correct, first.pictures)
        share = first.correct / first.pictures
        yield (
            f"| test, opened first {first.at[:10]} | {first.pictures:,} | {share:.2%} | {interval.low:.1%} to "
            f"{interval.high:.1%} | | |"
        )
    yield ""
    yield f"On valid each answer is {_mean_of(checkpoint.asked_views)}, as `predict` answers unless `--views` is given."
    if first and first.correct is not None and first.views != checkpoint.asked_views:
        yield f"On test each answer was {_mean_of(first.views)}."
    times = len(facts.openings)
    if times:
        yield f"Test was opened {times} time{'s' if times > 1 else ''} with this checkpoint; the first figure is shown."
    else:
        yield "Test was never opened with this checkpoint, as far as the record beside it tells."
    if checkpoint.recipe.get("head", {}).get("keep", "last") != "last":
        yield "The epoch was chosen on valid, so its figure there is flattered."
    if calibration := checkpoint.calibration:
        yield ""
        yield (
            f"Probabilities are given at temperature {calibration.temperature:.3f}, fitted on valid. Their expected "
            f"calibration error (15 bins) on those same pictures is {calibration.error_after:.3f}; without the "
            f"temperature it would be {calibration.error_before:.3f}."
        )


def _mean_of(views: int) -> str:
    return "that of one view of the picture" if views == 1 else f"the mean of {views} views of the picture"


def _limits(facts: _Facts) -> Iterator[str]:
    checkpoint = facts.checkpoint
    yield "## Limits"
    yield ""
    yield (
        f"- It knows {len(checkpoint.labels)} classes and gives each picture one of them, whatever it shows. "
        f"`predict --abstain` lets it say that it is not sure."
    )
    yield "- Its figures hold for pictures like those it was measured on: same origin, same manner, same quality."
    valid = checkpoint.metrics.get("valid")
    if valid is None:
        return
    seen = valid.confusion.sum(axis=1)
    none, few = int((seen == 0).sum()), int(((seen > 0) & (seen < _FEWEST)).sum())
    if none:
        yield f"- Nothing is known of {none} classes: valid has no picture of them."
    if few:
        yield f"- {few} classes have fewer than {_FEWEST} valid pictures: their own figures say little."
    pairs = most_confused(valid, _MOST_CONFUSED)
    if pairs:
        yield "- Confused most often on valid: " + "; ".join(
            f"{_text(checkpoint.names[one.truth])} taken for {_text(checkpoint.names[one.answer])} "
            f"({one.count} of {one.n})"
            for one in pairs
        ) + "."  # fmt: skip
    yield "- The pictures' own licences bind whoever passes them on; the dataset's `CREDITS.md` names them."


def _use(facts: _Facts) -> Iterator[str]:
    yield "## Use"
    yield ""
    yield "```sh"
    yield f"{COMMAND} predict picture.jpg --checkpoint {shlex.quote(facts.file)}"
    yield "```"
    yield ""
    yield "```python"
    yield "from pathlib import Path"
    yield f"from {__package__}.predict import Predictor"
    yield ""
    yield f"predictor = Predictor.from_checkpoint(Path({_quoted(facts.file)}))"
    yield 'for answer in predictor.predict_files([Path("picture.jpg")]):'
    yield "    print(answer)"
    yield "```"
    yield ""
    yield "The file alone is needed: networks, classes, preprocessing and temperature are inside."
    yield "A picture is scaled to"
    for backbone in facts.checkpoint.backbones:
        shape = backbone.preprocessing
        if shape.squash:
            yield f"{shape.crop} × {shape.crop} pixels ({shape.interpolation}), bent, for {_text(backbone.name)};"
            continue
        yield (
            f"a short side of {shape.resize} pixels ({shape.interpolation}), of which the middle {shape.crop} × "
            f"{shape.crop} go to {_text(backbone.name)};"
        )
    if not any(backbone.preprocessing.squash for backbone in facts.checkpoint.backbones):
        yield "it is never bent."


def _classes(facts: _Facts) -> Iterator[str]:
    checkpoint = facts.checkpoint
    valid = checkpoint.metrics.get("valid")
    counts: Mapping[str, int] = checkpoint.dataset.get("pictures", {}).get("train", {})
    yield "## Classes"
    yield ""
    yield "| folder | name | train | valid | right on valid |"
    yield "|---|---|---:|---:|---:|"
    for position, (label, name) in enumerate(zip(checkpoint.labels, checkpoint.names, strict=True)):
        seen = int(valid.confusion[position].sum()) if valid else 0
        right = int(valid.confusion[position, position]) if valid else 0
        yield f"| {_text(label)} | {_text(name)} | {counts.get(label, 0):,} | {seen:,} | {right if seen else ''} |"


def _first_look(facts: _Facts) -> Opening | None:
    """The first look at test that came to an end: later ones may have been taken because of it."""
    return next((opening for opening in facts.openings if opening.correct is not None), None)


def _flat(plain: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in plain.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _cell(value: object) -> str:
    return "" if value is None else _text(json.dumps(value, ensure_ascii=False))


def _text(text: str) -> str:
    """What a class or a path is called, as plain text in Markdown: no table, link or tag comes of it."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(printable(text).split()))


def _quoted(text: str) -> str:
    """A text between quotes, as JSON, YAML and Python read it."""
    return json.dumps(text, ensure_ascii=False)
