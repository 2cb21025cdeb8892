"""A budget: the choice follows its rule, what is planned fits, and the estimate is near what a run takes."""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import UserError
from tests.training_ground import TINY, grow
from train import budget
from train.budget import SIZES, VIEW_COUNTS, Speed, choose, parse_duration, plan_budget, weights_at_hand
from train.optimising.settings import FitSettings
from train.training import TrainOptions, train_head

pytestmark = pytest.mark.usefixtures("one_thread")

FAST = Speed("fast", 70.0, 224, 0.01, 0.002, 0.01, 0.02, overlap=False, head=1.0, load=0.5)
SLOW = replace(FAST, backbone="slow", quality=80.0, network=0.1, exact=0.2)


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("90", 90), ("5m", 300), ("1.5h", 5400), (" 2 M ", 120), ("0.5s", 0.5)]
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "-5s", "5d", "1:30", "s", "1e3"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no time"):
        parse_duration(text)


def test_an_estimate_worked_by_hand() -> None:
    # 100 train, 10 valid, one view: 110 decoded, 100 computed fast, 10 exactly
    assert FAST.seconds(100, 10, 1) == pytest.approx(1.5 + 110 * 0.01 + 100 * 0.01 + 10 * 0.02)
    # three views: 200 more are drawn and computed
    assert FAST.seconds(100, 10, 3) == pytest.approx(1.5 + 1.1 + 200 * 0.002 + 300 * 0.01 + 0.2)
    # half the pixels a side is a quarter of the network's work
    assert FAST.seconds(100, 10, 1, 0.5) == pytest.approx(1.5 + 1.1 + (1.0 + 0.2) / 4)
    beside = replace(FAST, overlap=True)
    assert beside.seconds(100, 10, 1) == pytest.approx(1.5 + 1.2)  # the longer of 1.1 and 1.2
    banked = replace(FAST, banked=100)
    assert banked.seconds(100, 10, 1) == pytest.approx(1.5 + 10 * 0.01 + 10 * 0.02)
    assert banked.seconds(100, 10, 1, 0.5) == FAST.seconds(100, 10, 1, 0.5)  # another size is another bank


def test_the_better_network_first_then_views_then_pixels() -> None:
    def chosen(seconds: float) -> tuple[str, int, int]:
        plan = choose([FAST, SLOW], 1000, 100, seconds)
        return plan.backbone, plan.views, plan.crop

    # slow takes 132.5 s with one view and 234.5 s with two; fast 24.5 s with one and 108.5 s with eight
    assert chosen(1_000) == ("slow", 8, 0)
    assert chosen(300) == ("slow", 2, 0)
    assert chosen(157) == ("slow", 1, 0)
    assert chosen(155) == ("fast", 8, 0)
    assert chosen(29) == ("fast", 1, 0)
    assert chosen(28) == ("fast", 1, 160)  # nothing fits at 224; three quarters of it take 19.25 s
    assert chosen(19) == ("fast", 1, 112)
    with pytest.raises(UserError, match=r"the least, fast at half its size with one view, would take about 19 s"):
        choose([FAST, SLOW], 1000, 100, 10)


def test_the_reasons_name_what_was_not_taken() -> None:
    why = " ".join(choose([FAST, SLOW], 1000, 100, 100).why)
    assert "fast with 4 views at 100% of its own size takes about 60 s; 85 s were left" in why
    assert "slow is better, but would take 132 s with one view" in why
    assert "With 8 views it would take 108 s" in why


@given(
    st.lists(
        st.tuples(st.floats(60, 90), st.floats(1e-4, 0.5), st.floats(0, 0.1)), min_size=1, max_size=5
    ),
    st.integers(10, 5000),
    st.floats(1, 5000),
    st.floats(0, 100),
)  # fmt: skip
def test_what_is_planned_fits_and_nothing_better_would(
    candidates: list[tuple[float, float, float]], train: int, seconds: float, spent: float
) -> None:
    speeds = [
        replace(FAST, backbone=f"net {number}", quality=quality, network=network, exact=2 * network, decode=decode)
        for number, (quality, network, decode) in enumerate(candidates)
    ]
    left = 0.85 * seconds - spent
    try:
        plan = choose(speeds, train, train // 5, seconds, spent=spent)
    except UserError:
        assert all(speed.seconds(train, train // 5, 1, 0.5) > left for speed in speeds)
        return
    assert plan.seconds <= left
    mine = next(speed for speed in speeds if speed.backbone == plan.backbone)
    size = {0: 1.0, 160: 0.75, 112: 0.5}[plan.crop]
    for larger in SIZES[: SIZES.index(size)]:
        assert all(speed.seconds(train, train // 5, 1, larger) > left for speed in speeds)
    for speed in speeds:
        if speed.quality > mine.quality:
            assert speed.seconds(train, train // 5, 1, size) > left
    if plan.views < max(VIEW_COUNTS):
        assert mine.seconds(train, train // 5, VIEW_COUNTS[VIEW_COUNTS.index(plan.views) - 1], size) > left


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 20, "valid": 4})


def options(models: Path) -> TrainOptions:
    return TrainOptions(backbone=TINY, weights="none", views=1, models=models, device="cpu", head=FitSettings(epochs=3))


def test_it_measures_plans_and_the_run_keeps_to_it(garden: Path, tmp_path: Path) -> None:
    plan = plan_budget(garden, 600, options(tmp_path))
    assert (plan.backbone, plan.crop, plan.views) == (TINY, 0, 8)
    assert len(plan.speeds) == 1
    speed = plan.speeds[0]
    assert speed.decode > 0
    assert 0 < speed.network < 5
    assert math.isnan(speed.quality)
    chosen = plan.applied_to(options(tmp_path))
    assert (chosen.backbone, chosen.views, chosen.crop) == (TINY, 8, 0)
    started = time.perf_counter()
    report = train_head(garden, chosen)
    assert report.views == 8
    assert time.perf_counter() - started < 600


def test_what_the_bank_has_costs_nothing_more(garden: Path, tmp_path: Path) -> None:
    from curate.catalog import Catalog
    from curate.dataset import open_dataset
    from curate.scan import scan

    dataset = open_dataset(garden)
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog)
    assert plan_budget(garden, 600, options(tmp_path)).speeds[0].banked == 0
    train_head(garden, options(tmp_path))
    assert plan_budget(garden, 600, options(tmp_path)).speeds[0].banked == 60


def test_only_what_is_at_hand_is_considered(garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing here"))
    assert weights_at_hand("efficientnet_lite0")
    assert not weights_at_hand("resnet152")
    measured = []

    def pretend(name: str, *_: object) -> Speed:
        measured.append(name)
        return replace(FAST, backbone=name)

    monkeypatch.setattr(budget, "measure_speed", pretend)
    plain = TrainOptions(views=1, models=tmp_path, device="cpu")
    plan = plan_budget(garden, 60, plain)
    assert measured == ["efficientnet_lite0"]
    assert "Not at hand, so not considered: mobilenet_v3_large" in plan.why[-1]
    # With several at hand, one that cannot fit by what the others took is not tried
    monkeypatch.setattr(budget, "weights_at_hand", lambda _: True)
    measured.clear()

    def crawl(name: str, *_: object) -> Speed:
        measured.append(name)
        return replace(FAST, backbone=name, network=budget._PUBLISHED[name][1])

    monkeypatch.setattr(budget, "measure_speed", crawl)
    plan = plan_budget(garden, 40, plain)
    assert measured[:2] == ["mobilenet_v3_large", "efficientnet_lite0"]
    assert "resnet152" not in measured
    assert any(line.startswith("resnet152 was not measured: it would take") for line in plan.why)


def test_weights_belong_to_one_network(garden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="for one backbone"):
        plan_budget(garden, 60, options(tmp_path), candidates=[f"{TINY}+resnet18"])
    with pytest.raises(UserError, match="Nothing fits a budget of 0 s"):
        plan_budget(garden, 0.001, options(tmp_path))
