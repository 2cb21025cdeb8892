"""What each step bought: the arms are as promised, the intervals are right, and leaks show where there are any."""

import hashlib
import json
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

import florilegium as fl
from curate.catalog.found_by import SearchQuery
from curate.clean import clean
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.removals import read_removals
from curate.searched import Searched, read_searched
from curate.split import split
from testing.localweb import LocalWeb
from tests.bringing import bring
from tests.commanding import command
from tests.pictures import paint, plant, save, tree
from tests.test_folds import options
from tests.training_ground import TINY, grow
from train.ablate import ablate
from train.ablating.arms import ArmPair, ArmsDrawn, draw_arms
from train.ablating.decisions import SuspectDecision, read_decisions
from train.ablating.flattery import fold_pictures, measure_flattery
from train.ablating.paired import mean_accuracy, paired_difference
from train.ablating.pool import LearningPool, learning_pool
from train.ablating.report import STEPS
from train.metrics import wilson_interval
from train.optimising.settings import FitSettings, Tuning
from train.training import pictures_of

pytestmark = pytest.mark.usefixtures("one_thread")

LEARN_BY_HEART = FitSettings(epochs=20, learning_rate=0.1, weight_decay=0.0, label_smoothing=0.0, batch=32)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def again(path: Path, to: Path, seed: int = 0) -> Path:
    """A copy by one edit: smaller, lighter, cut at the border, or saved anew."""
    with Image.open(path) as image:
        width, height = image.size
        edited = (
            image.resize((width * 4 // 5, height * 4 // 5)),
            ImageEnhance.Brightness(image).enhance(1.15),
            image.crop((3, 3, width - 3, height - 3)),
            image.convert("RGB"),
        )[seed % 4]
        return save(edited, to, quality=70)


# The interval of a paired difference


def bits(*rows: str) -> NDArray[np.bool_]:
    return np.array([[letter == "1" for letter in row] for row in rows])


def test_the_interval_is_that_of_all_draws_of_groups_and_seeds() -> None:
    """Two groups of two, two seeds: by hand, 0 comes once in sixteen draws, and nothing is above a half."""
    groups = np.array([7, 7, 3, 3])
    found = paired_difference(bits("1100", "1110"), bits("1000", "1000"), groups, seed=1)
    assert found.mean == 0.375
    assert (found.low, found.high) == (0.0, 0.5)
    assert not found.is_told
    assert paired_difference(bits("1100", "1110"), bits("1000", "1000"), groups, seed=1) == found


def test_pictures_alone_give_the_known_standard_error() -> None:
    """100 of 400 pictures are won and none is lost: 0.25 ± 1.96 · sqrt(0.25 · 0.75 / 400)."""
    won = np.arange(400) < 100
    with_step, without = np.array([won] * 3), np.zeros((3, 400), dtype=bool)
    found = paired_difference(with_step, without, np.arange(400), seed=0)
    half = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert found.is_told
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.08)
    # Four shots of one thing are one witness: with groups of four that answer alike, it is twice as wide
    grouped = paired_difference(with_step, without, np.arange(400) // 4, seed=0)
    assert (grouped.high - grouped.low) / 2 == pytest.approx(2 * half, rel=0.08)


def test_seeds_that_differ_widen_the_interval() -> None:
    """Every picture is won by one seed and lost by the next: the mean over seeds may be anything between."""
    with_step = np.repeat([[True], [False], [True], [False]], 300, axis=1)
    found = paired_difference(with_step, ~with_step, np.arange(300), seed=0)
    assert found.mean == 0.0
    assert found.low <= -0.5
    assert found.high >= 0.5


def test_what_tells_nothing_is_no_proof() -> None:
    assert paired_difference(bits("11"), bits("00"), np.array([4, 4]), seed=0).is_told is False
    same = paired_difference(bits("1010"), bits("1010"), np.arange(4), seed=0)
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_accuracy_is_the_mean_over_seeds_with_wilsons_interval() -> None:
    found = mean_accuracy(bits("1111011110", "1111111110"))
    assert (found.mean, found.n) == (0.85, 10)
    interval = wilson_interval(8, 10)
    assert (found.low, found.high) == (interval.low, interval.high)


# The arms


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    """Three classes of six and three; two roses have a copy in train, one iris a copy in valid."""
    root = grow(tmp_path / "data", {"train": 6, "valid": 3})
    for number in range(2):
        again(root / f"train/rose/picture {number}.jpg", root / f"train/rose/copy {number}.jpg")
    again(root / "train/iris/picture 4.jpg", root / "valid/iris/copy.jpg")
    return root


def drawn(
    root: Path,
    *steps: str,
    searched: Searched | None = None,
    decisions: Iterable[SuspectDecision] | None = None,
    views: int = 2,
) -> tuple[ArmsDrawn, LearningPool, list[str]]:
    dataset = open_dataset(root)
    train, _, labels = pictures_of(dataset)
    removals = read_removals(dataset)
    pool, notes = learning_pool(dataset, train, removals.set_aside, labels)
    pool = pool.having_features(range(len(pool.pictures)), [digest(one.path) for one in pool.pictures])
    found = draw_arms(
        pool, labels, removals, searched or Searched(), None if decisions is None else list(decisions),
        steps=steps or STEPS, balance=1.0, views=views,
    )  # fmt: skip
    return found, pool, notes


def learnt(pool: LearningPool, positions: NDArray[np.int64]) -> set[str]:
    return {pool.paths[at] for at in positions.tolist()}


def of_step(found: ArmsDrawn, step: str) -> ArmPair:
    (one,) = [one for one in found.comparisons if one.step == step]
    return one


def in_train(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in (root / "train").rglob("*.jpg")}


def test_with_a_step_that_is_not_taken_yet_is_train_less_what_its_plan_names(garden: Path) -> None:
    planned = {one.path: one.reason for one in clean(garden, dry_run=True).plan.decisions}
    assert sorted(planned.values()) == ["duplicate", "duplicate", "leak"]
    found, pool, _ = drawn(garden, "duplicates", "leaks", "cleaning")
    for step, reasons in (
        ("duplicates", {"duplicate"}), ("leaks", {"leak"}), ("cleaning", {"duplicate", "leak"})
    ):  # fmt: skip
        one = of_step(found, step)
        leaving = {path for path, reason in planned.items() if reason in reasons and path.startswith("train/")}
        assert learnt(pool, one.with_step.positions) == in_train(garden) - leaving
        assert learnt(pool, one.without_step.positions) == in_train(garden)
        assert one.pictures == len(leaving) > 0
    assert "flattery that ends" in of_step(found, "leaks").remark


def test_without_a_step_that_was_taken_is_train_and_what_lies_in_the_quarantine(garden: Path) -> None:
    before = in_train(garden)
    clean(garden, yes=True)
    there = tree(garden)
    found, pool, notes = drawn(garden, "duplicates", "leaks", "conflicts")
    both = {path for one in found.comparisons for path in learnt(pool, one.without_step.positions)}
    assert both == before
    for one in found.comparisons:
        assert learnt(pool, one.with_step.positions) == in_train(garden)
        back = set(one.without_step.positions.tolist()) - set(one.with_step.positions.tolist())
        assert len(back) == one.pictures == one.set_aside > 0
        for at in back:
            assert pool.pictures[at].path.is_relative_to(garden / "quarantine")
            assert pool.pictures[at].label == pool.paths[at].split("/")[1]
    assert found.skipped == ["conflicts: none lie in train, and none were set aside"]
    assert notes == []
    assert tree(garden) == there


@pytest.mark.thorough
def test_what_a_split_would_have_held_out_is_not_put_back(tmp_path: Path) -> None:
    """Copies left raw/ before the split: those whose original is in valid today would leak from train."""
    root = tmp_path / "data"
    for number in range(30):
        save(paint(number), root / f"raw/{'ab'[number % 2]}/{number}.jpg")
        again(root / f"raw/{'ab'[number % 2]}/{number}.jpg", root / f"raw/{'ab'[number % 2]}/{number} copy.jpg")
    assert clean(root, yes=True).moved == 30
    split(root, ratio=(0.6, 0.4, 0.0))
    held = {path.name.split()[0].removesuffix(".jpg") for path in (root / "valid").rglob("*.jpg")}
    found, pool, notes = drawn(root, "duplicates")
    one = of_step(found, "duplicates")
    back = learnt(pool, one.without_step.positions) - learnt(pool, one.with_step.positions)
    numbers = {Path(path).name.split()[0].removesuffix(".jpg") for path in back}
    assert held
    assert numbers == {str(number) for number in range(30)} - held
    (note,) = notes
    assert note.startswith(f"{len(held)} pictures that were set aside would have been drawn into valid or test")


def test_sources_and_queries_leave_out_their_own_pictures(garden: Path) -> None:
    roses, irises = (sorted((garden / "train" / label).glob("picture*")) for label in ("rose", "iris"))
    sources = {digest(path): "openverse" for path in [*roses[:5], *irises[:1]]} | {digest(irises[1]): "flickr"}
    queries = {digest(path): SearchQuery("openverse", "pink rose") for path in roses[:5]}
    found, pool, _ = drawn(garden, "sources", "queries", searched=Searched(sources, queries))
    source, query = of_step(found, "sources"), of_step(found, "queries")
    assert (source.what, source.pictures, query.what, query.pictures) == ("openverse", 6, "openverse: pink rose", 5)
    everything = in_train(garden)
    gone = {path.relative_to(garden).as_posix() for path in roses[:5]}
    assert learnt(pool, query.with_step.positions) == everything
    assert learnt(pool, query.without_step.positions) == everything - gone
    assert learnt(pool, source.without_step.positions) == everything - gone - {irises[0].relative_to(garden).as_posix()}


def test_a_scrape_knows_its_sources_and_queries(tmp_path: Path) -> None:
    out = tmp_path / "data"
    with LocalWeb(plant(tmp_path / "web", {"rose": 6, "iris": 6})) as web:
        bring(web, out)
    found = read_searched([open_dataset(out)])
    kept = {digest(path): path.parent.name for path in (out / "raw").rglob("*.jpg")}
    assert len(kept) >= 10
    assert found.sources == dict.fromkeys(kept, "openverse")
    assert found.queries == {sha256: SearchQuery("openverse", label) for sha256, label in kept.items()}
    assert read_searched([open_dataset(grow(tmp_path / "other", {"train": 1}))]) == Searched()


def test_a_class_that_would_be_left_empty_is_not_measured(garden: Path) -> None:
    of_rose = {digest(path): "openverse" for path in (garden / "train" / "rose").iterdir()}
    found, _, _ = drawn(garden, "sources", searched=Searched(of_rose))
    assert found.comparisons == []
    assert found.skipped == ["sources: openverse is all that train has of 'rose', so nothing can be said without it"]


def test_balance_and_views_change_nothing_but_themselves(garden: Path) -> None:
    found, _, _ = drawn(garden, "balance", "views", views=4)
    balance, views = of_step(found, "balance"), of_step(found, "views")
    assert (balance.with_step.balance, balance.without_step.balance) == (1.0, 0.0)
    assert (views.with_step.views, views.without_step.views) == (4, 1)
    for one in (balance, views):
        np.testing.assert_array_equal(one.with_step.positions, one.without_step.positions)
    alike, _, _ = drawn(grow(garden.parent / "alike", {"train": 3, "valid": 1}), "balance", "views", views=1)
    assert alike.comparisons == []
    assert [sentence.split(":")[0] for sentence in alike.skipped] == ["balance", "views"]


def audit_lines(lines: Iterable[dict[str, object]]) -> str:
    usual: dict[str, object] = {
        "irrelevant": 0.0, "mislabelled": 0.0, "proposed": "", "outlier": 0.1, "ambiguous": 0.0, "redundant": 0.0,
        "nearest": [],
    }  # fmt: skip
    return "".join(f"{json.dumps({**usual, **line})}\n" for line in lines)


def test_an_audit_is_measured_by_what_it_is_sure_of(garden: Path) -> None:
    changed, far, wrong, unsure = (f"train/rose/picture {number}.jpg" for number in range(2, 6))
    sha256 = {path: digest(garden / path) for path in (far, wrong, unsure)}
    (garden / "audit.jsonl").write_text(
        audit_lines([
            {"path": changed, "label": "rose", "irrelevant": 1.0, "sha256": "0" * 64},
            {"path": far, "label": "rose", "irrelevant": 0.8, "mislabelled": 0.3, "sha256": sha256[far]},
            {"path": wrong, "label": "rose", "mislabelled": 0.99, "proposed": "iris", "sha256": sha256[wrong]},
            {"path": unsure, "label": "rose", "mislabelled": 0.79, "proposed": "iris", "sha256": sha256[unsure]},
            {"path": "valid/rose/picture 0.jpg", "label": "rose", "irrelevant": 1.0, "sha256": "1" * 64},
        ]),
        encoding="utf-8",
    )  # fmt: skip
    decisions = read_decisions(garden / "audit.jsonl", open_dataset(garden))
    found, pool, _ = drawn(garden, "audit", decisions=decisions)
    one = of_step(found, "audit")
    assert learnt(pool, one.with_step.positions) == in_train(garden) - {far}
    assert learnt(pool, one.without_step.positions) == in_train(garden)
    label = dict(zip(one.with_step.positions.tolist(), one.with_step.targets.tolist(), strict=True))
    other = {pool.paths[at] for at, target in label.items() if target != pool.targets[at]}
    assert (other, one.pictures) == ({wrong}, 2)
    assert label[pool.paths.index(wrong)] == pool.targets[pool.paths.index("train/iris/picture 0.jpg")]


def test_an_audit_that_was_carried_out_is_measured_backwards(garden: Path) -> None:
    """What left comes back, and what changed its class has the old one."""
    far, wrong = "train/rose/picture 3.jpg", "train/rose/picture 5.jpg"
    lines = [
        {"path": far, "reason": "irrelevant", "sha256": digest(garden / far)},
        {"path": wrong, "reason": "mislabelled", "sha256": digest(garden / wrong), "move_to": "train/iris/moved.jpg"},
    ]
    plan = garden.parent / "plan.jsonl"
    plan.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    ahead, pool, _ = drawn(garden, "audit", decisions=read_decisions(plan, open_dataset(garden)))
    first = of_step(ahead, "audit")
    clean(garden, plan=plan)
    found, later, _ = drawn(garden, "audit")
    second = of_step(found, "audit")

    def content(of: LearningPool, positions: NDArray[np.int64], targets: NDArray[np.int64]) -> set[tuple[str, int]]:
        return {(of.sha256[at], target) for at, target in zip(positions.tolist(), targets.tolist(), strict=True)}

    for arm in ("with_step", "without_step"):
        ours, theirs = getattr(first, arm), getattr(second, arm)
        assert content(pool, ours.positions, ours.targets) == content(later, theirs.positions, theirs.targets)


def test_no_audit_is_a_sentence(garden: Path) -> None:
    found, _, _ = drawn(garden, "audit")
    assert found.comparisons == []
    assert found.skipped == ["audit: there is no audit.jsonl beside the catalog, and no --audit FILE"]


@pytest.mark.parametrize("line", ["[]", "{", '{"path": 3, "irrelevant": 1, "mislabelled": 0}', '{"path": "a"}', "7"])
def test_a_line_that_is_none_is_named(line: str, garden: Path) -> None:
    file = garden / "audit.jsonl"
    file.write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"audit.jsonl, line 2 is no.*run `audit` again"):
        read_decisions(file, open_dataset(garden))


def test_an_audit_that_is_not_there_is_named(garden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.jsonl cannot be read \(No such file or directory\)"):
        ablate(garden, options(tmp_path / "models"), audit=tmp_path / "none.jsonl")
    assert not (tmp_path / "models").exists()


# The flattery of leaks


def unlearnable(root: Path, copies: bool) -> Path:
    """Scenes dealt out to classes by number: nothing but a picture itself tells its class."""
    for number in range(36):
        label, name = "abc"[number % 3], f"{number}.jpg"
        file = save(paint(number), root / f"train/{label}/{name}")
        if copies:
            again(file, root / f"valid/{label}/{name}", number // 3)
        else:
            save(paint(1000 + number), root / f"valid/{label}/{name}")
    return root


@pytest.mark.thorough
@pytest.mark.parametrize("copies", [True, False])
def test_only_groups_that_show_one_thing_flatter(copies: bool) -> None:
    """Features without a class in them, in groups of two: the same picture again, or two that share nothing."""
    source = np.random.default_rng(3)
    once = source.normal(size=(60, 48))
    twice = once + source.normal(size=once.shape) * 0.05 if copies else source.normal(size=once.shape)
    sha256 = [f"{number * 7919:064x}" for number in range(120)]
    data = fold_pictures(
        torch.from_numpy(np.concatenate([once, twice])).float()[:, None], np.tile(np.arange(60) % 3, 2), list("abc"),
        sha256, {sha: number % 60 for number, sha in enumerate(sha256)}, folds=4, seeds=[5, 6, 7],
    )  # fmt: skip
    found = measure_flattery(data, LEARN_BY_HEART, seed=0, advance=lambda _: None)
    assert found is not None
    assert (found.pictures, found.groups, found.disputed, data.fits) == (120, 60, 0, 24)
    if copies:
        assert found.gain.low > 0.15
    else:
        assert found.gain.low <= 0 <= found.gain.high


@pytest.mark.parametrize("disputed", [60, 40])
def test_copies_under_two_labels_are_counted_for_they_mislead(disputed: int) -> None:
    once, first = np.random.default_rng(3).normal(size=(60, 48)), np.arange(60) % 3
    second = np.where(np.arange(60) < disputed, (first + 1) % 3, first)
    sha256 = [f"{number * 7919:064x}" for number in range(120)]
    data = fold_pictures(
        torch.from_numpy(np.concatenate([once, once])).float()[:, None], np.concatenate([first, second]), list("abc"),
        sha256, {sha: number % 60 for number, sha in enumerate(sha256)}, folds=4, seeds=[5, 6],
    )  # fmt: skip
    found = measure_flattery(data, LEARN_BY_HEART, seed=0, advance=lambda _: None)
    assert found is not None
    assert (found.groups, found.disputed) == (60, disputed)
    if disputed == 60:
        assert found.naive.mean < found.ours.mean - 0.1


def test_the_same_bytes_are_two_pictures_to_a_naive_split() -> None:
    targets, sha256 = np.tile(np.arange(2), 20), [f"{number // 2:064x}" for number in range(40)]
    data = fold_pictures(torch.zeros(40, 1, 4), targets, list("ab"), sha256, {}, folds=4, seeds=[1])
    pairs = data.naive[0].reshape(20, 2), data.ours[0].reshape(20, 2)
    assert (pairs[0][:, 0] != pairs[0][:, 1]).sum() > 5
    assert (pairs[1][:, 0] == pairs[1][:, 1]).all()


@pytest.mark.thorough
def test_planted_leaks_show(tmp_path: Path) -> None:
    found = ablate(
        unlearnable(tmp_path / "data", copies=True), options(tmp_path / "models", head=LEARN_BY_HEART),
        seeds=2, only=["flattery"],
    )  # fmt: skip
    assert found.flattery is not None
    assert found.flattery.groups == 36
    assert found.flattery.pictures == 72
    assert found.flattery.gain.is_told
    assert found.flattery.gain.mean > 0.1
    assert found.flattery.ours.low < 1 / 3 < found.flattery.ours.high


def test_where_nothing_belongs_together_nothing_flatters(tmp_path: Path) -> None:
    said: list[str] = []
    found = ablate(
        unlearnable(tmp_path / "data", copies=False), options(tmp_path / "models", head=LEARN_BY_HEART),
        seeds=2, only=["flattery"], tell=said.append,
    )  # fmt: skip
    assert found.flattery is not None
    assert (found.flattery.groups, found.flattery.naive) == (0, found.flattery.ours)
    assert found.flattery.gain.low <= 0 <= found.flattery.gain.high
    assert found.fits == 2 + 2 * 5  # the baseline, and five folds that both draw alike
    assert said == ["12 heads to fit on the bank: 1 sets of pictures × 2 seeds, and 10 for the flattery of leaks."]


# The whole


def without_time(report: object) -> dict[str, object]:
    return {name: value for name, value in report.to_dict().items() if name != "seconds"}  # type: ignore[attr-defined]


def test_the_table_is_the_same_each_time_and_moves_nothing(garden: Path, tmp_path: Path) -> None:
    told = options(tmp_path / "models", views=2, head=FitSettings(epochs=3))
    there = tree(garden)
    first = ablate(garden, told, seeds=2)
    assert tree(garden) == there
    assert [row.step for row in first.rows if row.step != "flags"] == [
        "duplicates", "leaks", "leaks", "cleaning", "cleaning", "balance", "views"
    ]  # fmt: skip
    assert {row.with_step.n for row in first.rows if row.what != "rest of valid"} == {first.valid_pictures} == {10}
    rest = [(row.step, row.with_step.n) for row in first.rows if row.what == "rest of valid"]
    assert rest == [("leaks", 9), ("cleaning", 9)]  # without the copy in valid, but with all that it has else
    assert (first.train_pictures, first.classes, first.seeds) == (20, 3, 2)
    assert without_time(ablate(garden, told, seeds=2)) == without_time(first)
    alone = ablate(garden, told, seeds=2, only=["leaks"])
    assert alone.rows == [row for row in first.rows if row.step == "leaks"]
    for row in first.rows:
        assert row.gain.mean == pytest.approx(row.with_step.mean - row.without_step.mean)
        assert row.gain.low <= row.gain.mean <= row.gain.high


def test_leaks_that_were_set_aside_are_told_from_the_rest_of_valid_too(garden: Path, tmp_path: Path) -> None:
    """By the copy that stayed in valid. The two arms are those of the dataset before it was cleaned."""
    told = options(tmp_path / "models", head=FitSettings(epochs=3))
    before = ablate(garden, told, seeds=2, only=["leaks", "cleaning"])
    clean(garden, yes=True)
    after = ablate(garden, told, seeds=2, only=["leaks", "cleaning"])
    assert [row.with_step.n for row in after.rows] == [10, 9, 10, 9]
    assert [row.set_aside for row in after.rows] == [row.pictures for row in before.rows] == [1, 1, 3, 3]
    cleaned = (
        [row for row in before.rows if row.step == "cleaning"],
        [row for row in after.rows if row.step == "cleaning"],
    )
    for one, other in zip(*cleaned, strict=True):
        assert one.with_step == other.with_step


def test_test_is_never_looked_at(garden: Path, tmp_path: Path) -> None:
    told = options(tmp_path / "models", head=FitSettings(epochs=2))
    first = ablate(garden, told, seeds=2, only=["balance", "flattery"])
    for number in range(4):
        save(paint(number), garden / f"test/rose/{number}.jpg")
    assert without_time(ablate(garden, told, seeds=2, only=["balance", "flattery"])) == without_time(first)


def refusals() -> dict[str, tuple[Collection[str], int, dict[str, object], str]]:
    return {
        "no such step": (["leak"], 2, {}, "no step 'leak': name one of duplicates, leaks"),
        "one seed": ([], 1, {}, "--seeds 1 can't be used"),
        "unfrozen": ([], 2, {"tuning": Tuning(unfreeze="all")}, "leave --unfreeze out"),
    }


@pytest.mark.parametrize("case", refusals())
def test_what_cannot_be_done_is_said(case: str, garden: Path, tmp_path: Path) -> None:
    only, seeds, changes, sentence = refusals()[case]
    with pytest.raises(UserError, match=sentence):
        ablate(garden, options(tmp_path / "models", **changes), seeds=seeds, only=only)
    assert not (tmp_path / "models").exists()


def test_an_unsplit_dataset_is_told_how_to_split(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(4):
        save(paint(number), root / f"raw/{'ab'[number % 2]}/{number}.jpg")
    ended = command("ablate", root, "--backbone", TINY, "--weights", "none", "--models", tmp_path / "models")
    assert f"split {root}" in ended.sentence


@pytest.mark.thorough
def test_from_the_terminal_and_from_python(garden: Path, tmp_path: Path) -> None:
    figures, models = tmp_path / "figures.json", tmp_path / "models"
    words = (
        "ablate", garden, "--backbone", TINY, "--weights", "none", "--views", 1, "--set", "epochs=2", "--seeds", 2,
        "--only", "leaks", "--only", "flattery", "--only", "audit", "--models", models, "--json", figures,
    )  # fmt: skip
    ended = command(*words)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert "heads to fit on the bank" in ended.out
    assert any(line.startswith("│ leaks") for line in lines)
    assert "Not measured: audit: there is no audit.jsonl beside the catalog, and no --audit FILE." in lines
    assert any(line.startswith("The flattery of leaks, on 30 pictures") for line in lines)
    assert f"train {garden}" in lines[-1]
    written = json.loads(figures.read_text(encoding="utf-8"))
    found = fl.open(garden).ablate(
        backbone=TINY, weights="none", views=1, epochs=2, seeds=2, only=["leaks", "flattery"], models=models
    )
    assert "2 comparisons on 10 valid pictures" in repr(found)
    assert "The flattery of leaks" in found._repr_html_()
    assert written["rows"] == json.loads(json.dumps(found.to_dict()))["rows"]
    assert command(*words).code == 0  # over its own file
    figures.write_text("mine", encoding="utf-8")
    assert "is not as this program wrote it" in command(*words).sentence
    assert figures.read_text(encoding="utf-8") == "mine"


def test_a_split_that_lies_beside_a_flat_dataset_knows_what_left_it(tmp_path: Path) -> None:
    flat = tmp_path / "flowers"
    for number in range(24):
        file = save(paint(number), flat / f"{'ab'[number % 2]}/{number}.jpg")
        if number < 8:
            again(file, file.with_name(f"{number} copy.jpg"))
    assert clean(flat, yes=True).moved == 8
    split(flat, ratio=(0.7, 0.3, 0.0))
    found = ablate(flat, options(tmp_path / "models", head=FitSettings(epochs=2)), seeds=2, only=["duplicates"])
    (row,) = found.rows
    assert 0 < row.pictures <= 8
    assert row.pictures + sum(int(note.split()[0]) for note in found.notes) == 8
