"""The model card: a header that YAML reads, every figure the checkpoint's own, no name that breaks its tables."""

import contextlib
import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from curate.catalog import Catalog
from curate.catalog.credits import CreditRow, enter_credit
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.files.ours import signed
from curate.program import __version__
from curate.scan import scan
from tests.training_ground import TINY, grow
from train.card_licence import require_allowed
from train.checkpoint import load_checkpoint, save_checkpoint
from train.evaluate import evaluate
from train.model_card import model_card, write_model_card
from train.optimising.settings import FitSettings
from train.test_log import Opening, complete_opening, content_of, note_opening
from train.training import TrainOptions, train_head

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 7, "valid": 4, "test": 3})


@pytest.fixture(scope="module")
def trained(garden: Path) -> Path:
    options = TrainOptions(
        backbone=TINY, weights="none", views=1, models=garden / "models", device="cpu", head=FitSettings(epochs=4),
        names={"rose": "Rosa | <b>canina</b>", "iris": "[Iris](http://x) *y*"},
    )  # fmt: skip
    return train_head(garden, options).checkpoint


@pytest.fixture
def checkpoint(trained: Path, tmp_path: Path) -> Path:
    mine = tmp_path / trained.name
    mine.write_bytes(trained.read_bytes())
    return mine


def header(card: str) -> dict[str, object]:
    assert card.startswith("---\n")
    plain: dict[str, object] = yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n"))
    return plain


def test_the_header_is_what_the_hub_reads(checkpoint: Path) -> None:
    accuracy = load_checkpoint(checkpoint).metrics["valid"]
    card = model_card(checkpoint, title='Roses: "mine"', license_="cc-by-4.0")
    plain = header(card)
    assert plain["license"] == "cc-by-4.0"
    assert plain["pipeline_tag"] == "image-classification"
    (index,) = plain["model-index"]  # type: ignore[misc]
    assert index["name"] == 'Roses: "mine"'  # type: ignore[has-type]
    (result,) = index["results"]  # type: ignore[has-type]
    assert result["dataset"]["split"] == "valid"
    assert result["metrics"][0] == {"type": "accuracy", "value": pytest.approx(accuracy.top1, abs=1e-6)}


def test_every_figure_is_the_checkpoints_own(checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    accuracy = loaded.metrics["valid"]
    card = model_card(checkpoint)
    assert loaded.dataset["fingerprint"] in card
    assert "| train | 21 | 3 | 7 | 7 | 7 |" in card
    assert "| valid | 12 | 3 | 4 | 4 | 4 |" in card
    assert f"| {accuracy.percent()}% | {accuracy.interval.low:.1%} to {accuracy.interval.high:.1%} |" in card
    assert f"temperature {loaded.temperature:.3f}" in card
    assert "| head.epochs | 4 |" in card
    assert f"torch {loaded.versions['torch']}" in card
    assert f"florilegium {__version__}" in card
    assert "3 classes have fewer than 5 valid pictures" in card
    assert f"--checkpoint {checkpoint.name}" in card
    assert "Test was never opened" in card


def test_test_appears_with_its_first_figure_and_how_often(checkpoint: Path, garden: Path) -> None:
    first = evaluate(checkpoint, garden, split="test", device="cpu")
    entry = Opening(content_of(load_checkpoint(checkpoint)), "2031-01-01T00:00:00+00:00", 9, "", 1)
    assert note_opening(checkpoint, entry) == 2
    complete_opening(checkpoint, entry, pictures=9, fingerprint="x", correct=0)
    card = model_card(checkpoint)
    assert "Test was opened 2 times" in card
    assert f"| 9 | {first.accuracy.top1:.2%} |" in card
    results = header(card)["model-index"][0]["results"]  # type: ignore[index]
    assert [result["dataset"]["split"] for result in results] == ["valid", "test"]
    assert results[1]["metrics"][0]["value"] == pytest.approx(first.accuracy.top1, abs=1e-6)


def test_no_name_breaks_a_table_or_becomes_a_tag(checkpoint: Path) -> None:
    card = model_card(checkpoint)
    table = card[card.index("## Classes") :].splitlines()[2:]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in table if row)
    assert "<b>" not in card
    assert "[Iris](" not in card
    assert r"Rosa \| \<b\>canina\</b\>" in card


def test_confused_classes_are_named(checkpoint: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    confusion = loaded.metrics["valid"].confusion * 0
    confusion[1, 2], confusion[1, 1] = 3, 1
    worse = dataclasses.replace(loaded.metrics["valid"], n=4, correct=1, correct_top5=4, confusion=confusion)
    path = save_checkpoint(dataclasses.replace(loaded, metrics={"valid": worse}), tmp_path / "models")
    card = model_card(path)
    assert "taken for sun flower (3 of 4)" in card
    assert "Nothing is known of 2 classes" in card


def test_it_is_written_whole_or_says_why(checkpoint: Path, tmp_path: Path) -> None:
    assert write_model_card(checkpoint) == checkpoint.with_suffix(".md")
    assert checkpoint.with_suffix(".md").read_text(encoding="utf-8") == signed(model_card(checkpoint))
    with pytest.raises(UserError, match="cannot be"):
        write_model_card(checkpoint, checkpoint / "below a file" / "README.md")
    with pytest.raises(UserError, match="no checkpoint"):
        write_model_card(tmp_path / "absent.pth")


FOUND = [
    ["openverse", "CC BY 4.0", 7],
    ["flickr", "CC BY-NC 2.0", 2],
    ["wikimedia", "CC BY-SA 4.0", 1],
    ["gbif", "", 1],
]


def found_on_the_web(checkpoint: Path) -> Path:
    """The checkpoint, of pictures that were found as `FOUND` says."""
    loaded = load_checkpoint(checkpoint)
    told = dataclasses.replace(loaded, dataset={**loaded.dataset, "credits": FOUND})
    return save_checkpoint(told, checkpoint.with_name("found"))


def test_the_pictures_are_counted_by_source_and_licence(checkpoint: Path) -> None:
    checkpoint = found_on_the_web(checkpoint)
    card = model_card(checkpoint)
    assert "| flickr | CC BY-NC 2.0 | 2 |" in card
    assert "| gbif | unknown | 1 |" in card


@pytest.mark.parametrize(
    ("licence", "says"),
    [
        ("other", None),
        (
            "cc-by-nc-sa-4.0",
            "1 of the pictures are, such as those under CC BY-SA 4.0 (share alike): no licence fits all",
        ),
        ("cc-by-4.0", "2 of the pictures are, such as those under CC BY-NC 2.0 (no commercial use)"),
        ("cc-by-nc-4.0", "1 of the pictures are, such as those under CC BY-SA 4.0 (share alike)"),
        ("apache-2.0", "no commercial use"),
    ],
)
def test_a_licence_that_the_pictures_forbid_is_refused(checkpoint: Path, licence: str, says: str | None) -> None:
    checkpoint = found_on_the_web(checkpoint)
    if says is None:
        assert f'license: "{licence}"' in model_card(checkpoint, license_=licence)
    else:
        with pytest.raises(UserError, match=re.escape(says)):
            model_card(checkpoint, license_=licence)


@pytest.mark.parametrize(
    ("pictures", "allowed"),
    [
        (["CC BY-SA 4.0"], {"cc-by-sa-4.0", "gpl-3.0"}),
        (["CC BY-SA 3.0"], {"cc-by-sa-3.0", "cc-by-sa-4.0"}),
        (["CC BY-SA 3.0", "CC BY-SA 4.0"], {"cc-by-sa-4.0"}),
        (["CC BY-SA 2.5"], {"cc-by-sa-3.0", "cc-by-sa-4.0"}),
        (["CC BY-SA 1.0"], set()),
        (["CC BY-SA"], {"cc-by-sa-4.0", "gpl-3.0"}),
        (["CC BY-NC-SA 3.0"], {"cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"}),
        (["CC BY-NC-SA 4.0", "CC BY 4.0"], {"cc-by-nc-sa-4.0"}),
        (["CC BY-NC-SA 4.0", "CC BY-SA 4.0"], set()),
        (["CC BY-NC 4.0"], {"cc-by-nc-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"}),
        (["CC BY-ND 4.0"], set()),
        (["CC BY 3.0", "CC0 1.0", "public domain", ""], None),
    ],
)
def test_share_alike_pictures_want_the_same_licence_or_a_later_one(
    pictures: list[str], allowed: set[str] | None
) -> None:
    """As Creative Commons publishes it, and the GPL 3 beside BY-SA 4.0; whatever they want, "other" says nothing."""
    offered = {
        *("cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "mit"),
        *("cc-by-nc-nd-4.0", "cc-by-sa", "gpl-3.0", "agpl-3.0", "apache-2.0", "cc0-1.0"),
    }
    found = [("flickr", licence, 3) for licence in pictures]
    passed = set()
    for licence in offered:
        with contextlib.suppress(UserError):
            require_allowed(licence, found)
            passed.add(licence)
    assert passed == (offered if allowed is None else allowed)
    require_allowed("other", found)


def test_the_licence_that_fits_is_named() -> None:
    with pytest.raises(UserError, match=re.escape("(share alike): give cc-by-sa-4.0 or gpl-3.0, or leave it out.")):
        require_allowed("cc-by-sa-3.0", [("wikimedia", "CC BY-SA 4.0", 2), ("flickr", "CC BY 2.0", 1)])


def test_where_the_pictures_were_found_is_read_from_the_catalog(tmp_path: Path) -> None:
    garden = grow(tmp_path / "garden", {"train": 7, "valid": 4, "test": 3})
    with Catalog.open(garden / "catalog.sqlite") as catalog:
        scan(open_dataset(garden), catalog)
        of_split = {picture.split: picture.sha256 for picture in catalog.intact()}
        with catalog.transaction():
            for split, sha256 in of_split.items():
                about = ("https://x.example/1", split, "1", "", "", "Ann", "CC BY-NC 2.0", "", "", "2026")
                enter_credit(catalog, CreditRow(sha256, *about))
    options = TrainOptions(
        backbone=TINY, weights="none", views=1, models=garden / "models", device="cpu", head=FitSettings(epochs=1)
    )
    trained = load_checkpoint(train_head(garden, options).checkpoint)
    found = sorted(trained.dataset["credits"])
    assert found == [["train", "CC BY-NC 2.0", 1], ["valid", "CC BY-NC 2.0", 1]], "the model has not seen test"
