"""From Python, an argument that cannot be meant is one sentence of ours, and nothing was done."""

import inspect
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

import florilegium as fl
from florilegium.arguments import ANY, ARGUMENT_KINDS, checked
from florilegium.model import Model
from florilegium.results import CleanPlan
from tests.pictures import dataset, tree

NAN = float("nan")
ODD: dict[str, Callable[[fl.Dataset], object]] = {
    "no folder": lambda _: fl.open(None),  # type: ignore[arg-type]
    "a number for a folder": lambda _: fl.open(3),  # type: ignore[arg-type]
    "a folder with NUL": lambda _: fl.open("a\0b"),
    "split: empty out": lambda garden: garden.split(out=""),
    "split: out with NUL": lambda garden: garden.split(out="a\0b"),
    "split: out is a number": lambda garden: garden.split(out=3),  # type: ignore[arg-type]
    "split: half a bit": lambda garden: garden.split(radius=2.5),  # type: ignore[arg-type]
    "split: radius NaN": lambda garden: garden.split(radius=NAN),  # type: ignore[arg-type]
    "split: radius below 0": lambda garden: garden.split(radius=-1),
    "split: radius is text": lambda garden: garden.split(radius="8"),  # type: ignore[arg-type]
    "split: a seed of thousands of digits": lambda garden: garden.split(seed=10**5000),
    "split: a share of thousands of digits": lambda garden: garden.split(ratio=(10**5000, 0, 0)),
    "train: views of thousands of digits": lambda garden: garden.train(views=10**5000),
    "train: epochs of thousands of digits": lambda garden: garden.train(epochs=10**5000),
    "split: half a seed": lambda garden: garden.split(seed=1.5),  # type: ignore[arg-type]
    "split: no seed": lambda garden: garden.split(seed=None),  # type: ignore[arg-type]
    "split: seed below 0": lambda garden: garden.split(seed=-1),
    "split: half a picture": lambda garden: garden.split(min_per_class=1.5),  # type: ignore[arg-type]
    "split: pictures below 0": lambda garden: garden.split(min_per_class=-1),
    "split: ratio of texts": lambda garden: garden.split(ratio=("a", "b", "c")),  # type: ignore[arg-type]
    "split: ratio NaN": lambda garden: garden.split(ratio=(NAN, 0.1, 0.1)),
    "split: one number for a ratio": lambda garden: garden.split(ratio=0.5),  # type: ignore[arg-type]
    "split: two shares": lambda garden: garden.split(ratio=(0.5, 0.5)),  # type: ignore[arg-type]
    "split: freeze a number": lambda garden: garden.split(freeze=3),  # type: ignore[arg-type]
    "split: freeze numbers": lambda garden: garden.split(freeze=[3]),  # type: ignore[list-item]
    "split: no such mode": lambda garden: garden.split(mode="move"),  # type: ignore[arg-type]
    "split: group by a number": lambda garden: garden.split(group_by=3),  # type: ignore[arg-type]
    "split: group by nothing": lambda garden: garden.split(group_by=""),
    "split: wait below 0": lambda garden: garden.split(wait=-1),
    "split: wait NaN": lambda garden: garden.split(wait=NAN),
    "clean: half a bit": lambda garden: garden.clean(radius=2.5),  # type: ignore[arg-type]
    "clean: radius is true": lambda garden: garden.clean(radius=True),
    "clean: radius below 0": lambda garden: garden.clean(radius=-1),
    "clean: remove numbers": lambda garden: garden.clean(remove=[3]),  # type: ignore[list-item]
    "clean: geometry is text": lambda garden: garden.clean(geometry="no"),  # type: ignore[arg-type]
    "clean: merge a list": lambda garden: garden.clean(merge=["1=2"]),  # type: ignore[arg-type]
    "clean: one picture no copy": lambda garden: garden.clean(not_copies=[("a",)]),  # type: ignore[list-item]
    "clean: numbers no copies": lambda garden: garden.clean(not_copies=[(1, 2)]),  # type: ignore[list-item]
    "verify: half a bit": lambda garden: garden.verify(radius=2.5),  # type: ignore[arg-type]
    "verify: radius below 0": lambda garden: garden.verify(radius=-1),
    "compare: radius above all": lambda garden: garden.compare(garden, radius=99),
    "compare: with nothing": lambda garden: garden.compare(""),
    "compare: with None": lambda garden: garden.compare(None),  # type: ignore[arg-type]
    "show: half a picture": lambda garden: garden.show(2.5),  # type: ignore[arg-type]
    "show: half a view": lambda garden: garden.show(2, views=2.5),  # type: ignore[arg-type]
    "show: classes by number": lambda garden: garden.show(2, classes=[3]),  # type: ignore[list-item]
    "restore: a number": lambda garden: garden.restore(reasons=3),  # type: ignore[arg-type]
    "scrape: below 0": lambda garden: garden.scrape("1", limit=-1),
    "scrape: NaN pictures": lambda garden: garden.scrape("1", limit=NAN),
    "scrape: size below 0": lambda garden: garden.scrape("1", min_size=-1),
    "scrape: sources by number": lambda garden: garden.scrape("1", sources=[3]),
    "scrape: into nothing": lambda _: fl.scrape("", "1"),
    "scrape: names of numbers": lambda garden: garden.scrape("1", names={"1": 3}),
    "train: views NaN": lambda garden: garden.train(views=NAN),  # type: ignore[arg-type]
    "train: views below 0": lambda garden: garden.train(views=-1),
    "train: a number for a recipe": lambda garden: garden.train(3),  # type: ignore[arg-type]
    "train: models nowhere": lambda garden: garden.train(models=""),
    "train: rate NaN": lambda garden: garden.train(learning_rate=NAN),
    "ablate: no such step": lambda garden: garden.ablate(only=["leak"]),
    "ablate: a step that is one": lambda garden: garden.ablate(only=[3]),  # type: ignore[list-item]
    "ablate: half a seed": lambda garden: garden.ablate(seeds=2.5),  # type: ignore[arg-type]
    "ablate: one seed": lambda garden: garden.ablate(seeds=1),
    "ablate: seeds of thousands of digits": lambda garden: garden.ablate(seeds=10**5000),
    "ablate: an audit of a number": lambda garden: garden.ablate(audit=3),  # type: ignore[arg-type]
    "ablate: an audit nowhere": lambda garden: garden.ablate(audit=""),
    "ablate: not split": lambda garden: garden.ablate(),
    "export: nowhere": lambda garden: garden.export(format="imagefolder", out=""),
    "export: no such format": lambda garden: garden.export(format="zip", out="out"),  # type: ignore[arg-type]
    "garden: share NaN": lambda _: fl.draw_garden("other", share=NAN),
    "garden: nowhere": lambda _: fl.draw_garden(""),
    "load: a number": lambda _: fl.load(3),  # type: ignore[arg-type]
    "load: nothing": lambda _: fl.load(""),
}


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> fl.Dataset:
    root = tmp_path_factory.mktemp("garden")
    dataset(root / "raw", {"1": 4, "2": 4})
    return fl.open(root)


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_argument_is_a_sentence(
    odd: str, garden: fl.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fl.UserError) as caught:
        ODD[odd](garden)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert not list(tmp_path.iterdir())
    assert {path.split("/")[0] for path in tree(garden.root)} <= {"raw", "quarantine"}


def test_numbers_of_numpy_are_numbers(garden: fl.Dataset) -> None:
    shares = tuple(np.array([0.8, 0.1, 0.1]))
    assert garden.split(radius=np.int64(8), seed=np.int32(3), ratio=shares, dry_run=np.bool_(True))  # type: ignore[arg-type]


def test_what_can_be_gone_through_once_is_not_used_up() -> None:
    @checked
    def ask(words: "Iterable[str] | None") -> list[str]:
        return list(words or ())

    assert ask(word for word in ("a", "b")) == ["a", "b"]


def public(of: type) -> list[Callable[..., Any]]:
    methods = [getattr(of, name) for name in vars(of) if not name.startswith("_")]
    return [one for one in methods if inspect.isfunction(one) and len(inspect.signature(one).parameters) > 1]


@pytest.mark.parametrize("of", [fl.Dataset, Model, CleanPlan])
def test_every_method_looks_at_its_arguments(of: type) -> None:
    for method in public(of):
        if method.__qualname__ not in {"Dataset.scrape", "CleanPlan.draw", "CleanPlan.report"}:
            assert hasattr(method, "__wrapped__"), f"{method.__qualname__} takes whatever it is given"


def test_every_annotation_has_a_rule() -> None:
    assert not ANY & ARGUMENT_KINDS.keys()
    with pytest.raises(KeyError):
        checked(unknown)


def unknown(argument: "complex") -> None:
    """A function whose argument nobody knows how to look at."""


# -- pictures in memory


def cut_off() -> Image.Image:
    stream = BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(stream, "PNG")
    picture = Image.open(BytesIO(stream.getvalue()[:-500]))
    assert isinstance(picture, ImageFile.ImageFile)
    return picture


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (Image.new("RGBA", (9, 9)), "is of mode RGBA"),
        (Image.new("P", (9, 9)), "is of mode P"),
        (Image.new("F", (9, 9)), "is of mode F"),
        (Image.new("I;16", (9, 9)), "is of mode I;16"),
        (Image.new("RGB", (0, 9)), "has no pixels"),
        (cut_off(), "gives no pixels"),
        (np.zeros((9, 9, 3), np.uint8), "Pillow's pictures"),
        ("rose.jpg", "Pillow's pictures"),
    ],
    ids=["alpha", "palette", "floats", "16 bits", "no pixels", "cut off", "array", "path"],
)
def test_an_odd_picture_in_memory_is_a_sentence(picture: Any, says: str) -> None:
    class Unasked(Model):
        def __init__(self) -> None:
            """No checkpoint is asked: the pictures are looked at before."""

    with pytest.raises(fl.UserError, match=says):
        Unasked().probabilities([picture])
