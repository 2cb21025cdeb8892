"""A checkpoint as a file of another format, compared with the checkpoint on real pictures before it stays."""

import json
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from curate.errors import UserError
from curate.extras import not_installed
from curate.files.atomic import file_under_way, fsync_file, take_place, write_whole
from curate.files.reading import sha256_of
from curate.image import BrokenImage, load_pixels
from curate.printable import without_escapes
from curate.progress import Progress, silent
from train.checkpoint import Checkpoint, load_checkpoint
from train.exporting.classifier import Classifier, Geometry
from train.exporting.export_formats import FORMATS, Runner, Versions
from train.features.preprocessing import INTERPOLATIONS
from train.predict import Predictor
from train.signed_json import require_ours_together, signed_json
from train.test_log import content_of

TOLERANCE: Final = 1e-4
"""The largest difference of any probability of any picture that an exported file may show."""

PICTURES: Final = 64

_BATCH = 16


@dataclass(frozen=True)
class ModelExportReport:
    """What was written, and how close it comes to the checkpoint."""

    file: Path
    beside: Path  # JSON: inputs, preprocessing, labels, names, parity
    format: str
    pictures: int  # compared
    largest_difference: float  # of any probability
    same_answers: int  # pictures whose first answer is the same
    size: int  # bytes
    seconds: float
    figures_from_views: int  # that each answer of the checkpoint's figures is the mean of; the file computes one

    @property
    def remark(self) -> str:
        """What is to be said of these views; "" where they are one."""
        return _of_one_view(self.figures_from_views)


def _of_one_view(views: int) -> str:
    """How a file that computes one view differs from a checkpoint that answers from several; "" where it does not."""
    if views == 1:
        return ""
    return (
        f"The file computes one view of a picture. The checkpoint's own answers are the mean of {views} views, and its "
        f"figures and its temperature are of these."
    )


def export(
    checkpoint: Path,
    format_: str,
    pictures: Sequence[Path],
    *,
    out: Path | None = None,
    force: bool = False,
    opset: int = 0,
    ir_version: int = 0,
    progress: Progress = silent,
) -> ModelExportReport:
    """Write `<checkpoint's name><ending>` into `out` (default: beside it), and a JSON that says how to feed it.

    An `out` that ends as the format's files do, such as model.onnx, is the file itself. ONNX has the operator set
    `opset` and the format's version `ir_version`, or those that PyTorch takes where these are 0; the JSON says which.

    The file computes one view, whatever the checkpoint answers from.
    It is read back and run on up to 64 of `pictures`, spread evenly; where any probability is off by more than
    1e-4 nothing is left. Raises UserError for that, for an unknown format, where a package is missing, and where a
    file is in the way that this did not write, unless `force` says that it may go.
    """
    if format_ not in FORMATS:
        raise UserError(f"There is no export format {format_!r}: use {', '.join(FORMATS)}.")
    ending, write, read = FORMATS[format_]
    if format_ != "onnx" and (opset or ir_version):
        raise UserError(f"--opset and --ir-version are ONNX's, and {format_} has neither: leave them out.")
    started = time.perf_counter()
    if out is not None and out.suffix == ending and not out.is_dir():
        file = out  # a file was named, and not a folder
    else:
        file = (out or checkpoint.parent) / f"{checkpoint.stem}{ending}"
    beside = file.with_name(f"{file.name}.json")
    there = require_ours_together(beside, [file], force=force)[file.name]
    loaded = load_checkpoint(checkpoint)
    images = _sample(pictures)
    classifier = Classifier(loaded)
    description = describe(loaded, classifier, checkpoint.name, format_)
    with _written(file) as (stream, temporary):
        with _failing_in_words(loaded, format_):
            more = write(classifier, stream, json.dumps(description, ensure_ascii=False), Versions(opset, ir_version))
            fsync_file(stream)
            run = read(temporary, loaded)
            found = _compare(run, classifier.geometries, Predictor(loaded, "cpu", views=1), images, progress)
        difference, same = found
        if not difference <= TOLERANCE:
            raise UserError(
                f"The {format_} file gives probabilities that are off by {difference:.1e}, more than {TOLERANCE:g}, "
                f"so it was not kept: take another --format."
            )
        size, digest = temporary.stat().st_size, sha256_of(temporary)
        parity = {"pictures": len(images), "largest_difference": difference, "same_first_answers": same}
        facts = {**description, "versions": {**description["versions"], **more}, "parity": parity}
        # Before and after: killed in between, an export leaves nothing that it would not know again
        write_whole(beside, signed_json(facts, {file.name: [*there, digest]}))
        take_place(temporary, file)
        write_whole(beside, signed_json(facts, {file.name: [digest]}))
    return ModelExportReport(
        file=file, beside=beside, format=format_, pictures=len(images), largest_difference=difference,
        same_answers=same, size=size, seconds=time.perf_counter() - started, figures_from_views=loaded.asked_views,
    )  # fmt: skip


def describe(checkpoint: Checkpoint, classifier: Classifier, name: str, format_: str) -> dict[str, Any]:
    """All that another program needs to feed the file and to read its answers, in plain types."""
    inputs = [
        {
            "name": input_name,
            "dtype": "float32",
            "shape": ["batch", 3, geometry.crop, geometry.crop],
            "meaning": "RGB from 0 to 1, channels first",
            **({"resize_both_sides": geometry.crop} if geometry.squash else {"resize_short_side": geometry.resize}),
            "crop": geometry.crop,
            "interpolation": geometry.interpolation,
        }
        for input_name, geometry in zip(classifier.input_names(), classifier.geometries, strict=True)
    ]
    return {
        "made_from": name,
        "checkpoint": content_of(checkpoint),
        "format": format_,
        "preprocessing": [
            "decode the first frame; turn it upright as EXIF says; convert to sRGB; lay transparency over white",
            "scale samples of 16 bits to 8: divide by 257; floats from 0 to 1: multiply by 255",
            "scale the short side to resize_short_side pixels, antialiased; the long side is rounded down",
            "do that as Pillow does, in bytes: what others make of them is answered a little otherwise",
            "cut the middle crop × crop pixels",
            "where an input has resize_both_sides in its place: scale both sides to that, antialiased, and cut nothing",
            "divide by 255; channels first. Normalisation is inside the model: do not normalise.",
        ],
        "inputs": inputs,
        "output": {
            "name": "probabilities", "dtype": "float32", "shape": ["batch", len(checkpoint.labels)],
            "meaning": "they sum to 1; temperature and softmax are inside the model",
        },
        "views": {
            "computed": 1, "figures_from": checkpoint.asked_views,
            **({"meaning": remark} if (remark := _of_one_view(checkpoint.asked_views)) else {}),
        },
        "temperature": checkpoint.temperature,
        "labels": checkpoint.labels,
        "names": checkpoint.names,
        "backbones": [
            {
                "library": backbone.library,
                "architecture": backbone.architecture,
                "mean": list(backbone.preprocessing.mean),
                "std": list(backbone.preprocessing.std),
            }
            for backbone in checkpoint.backbones
        ],
        "versions": {"torch": torch.__version__},
    }  # fmt: skip


def exported_input(image: Image.Image, geometry: Geometry) -> NDArray[np.float32]:
    """One picture as an exported file wants it, (3, crop, crop) float32 in [0, 1], by the description's words alone."""
    width, height = image.size
    short = min(width, height)
    if geometry.squash:
        bent = image.resize((geometry.crop, geometry.crop), INTERPOLATIONS[geometry.interpolation])
        return np.ascontiguousarray(np.asarray(bent, dtype=np.float32).transpose(2, 0, 1) / np.float32(255))
    size = int(geometry.resize * width / short), int(geometry.resize * height / short)
    scaled = image if size == image.size else image.resize(size, INTERPOLATIONS[geometry.interpolation])
    left, top = (round((side - geometry.crop) / 2) for side in scaled.size)
    square = np.asarray(scaled.crop((left, top, left + geometry.crop, top + geometry.crop)), dtype=np.float32)
    return np.ascontiguousarray(square.transpose(2, 0, 1) / np.float32(255))


def _sample(pictures: Sequence[Path]) -> list[Image.Image]:
    """Up to 64 of them, spread evenly; a broken one's neighbour stands in for it."""
    step = max(1, len(pictures) // PICTURES)
    images: list[Image.Image] = []
    for path in [*pictures[::step], *(path for at, path in enumerate(pictures) if at % step)]:
        if len(images) == PICTURES:
            break
        with suppress(BrokenImage):
            images.append(load_pixels(path))
    if not images:
        raise UserError(
            "An export is compared with its checkpoint on real pictures, and there are none: name a folder."
        )
    return images


def _compare(
    run: Runner, geometries: Sequence[Geometry], predictor: Predictor, images: Sequence[Image.Image], progress: Progress
) -> tuple[float, int]:
    """(largest difference, same first answers): the first picture alone, then batches, to try both."""
    difference, same = 0.0, 0
    starts = [0, *range(1, len(images), _BATCH)]
    with progress("Comparing", len(images)) as advance:
        for start in starts:
            group = images[start : start + (_BATCH if start else 1)]
            expected = predictor.probabilities(group)
            given = run([np.stack([exported_input(image, geometry) for image in group]) for geometry in geometries])
            if given.shape != expected.shape or not np.isfinite(given).all():
                return float("inf"), same
            difference = max(difference, float(np.abs(given - expected).max()))
            same += int((given.argmax(axis=1) == expected.argmax(axis=1)).sum())
            advance(len(group))
    return difference, same


@contextmanager
def _written(file: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file in the same folder to write to, and its name; whatever is still there in the end is removed."""
    try:
        with file_under_way(file) as under_way:
            yield under_way
    except OSError as error:
        raise UserError(
            f"{file} can't be written ({error.strerror}): check the disk's free space and your rights, or give --out "
            f"another folder."
        ) from error


@contextmanager
def _failing_in_words(checkpoint: Checkpoint, format_: str) -> Iterator[None]:
    names = " + ".join(backbone.name for backbone in checkpoint.backbones)
    try:
        with warnings.catch_warnings():
            # PyTorch would rather see TorchScript go; as long as it is there, people need it
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        raise not_installed(f"Exporting as {format_} needs", str(error.name), "onnx") from error
    except (UserError, OSError):
        raise
    except Exception as error:  # the compilers behind each format raise whatever they like
        reason = without_escapes((str(error).strip().splitlines() or [type(error).__name__])[0])[:200]
        raise UserError(f"{names} can't be exported as {format_} ({reason}): take another --format.") from error
