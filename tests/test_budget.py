"""A budget: the choice follows its rule, what is planned fits, and the estimate is near what a run takes."""

import math
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commands import training_reports
from curate.errors import UserError
from tests.training_ground import TINY, grow
from train import budget
from train.budget import SIZES, VIEW_COUNTS, Speed, choose, parse_duration, plan_budget
from train.downloaded_weights import DownloadedWeights
from train.head import fit_head
from train.heads.operations import operations_of
from train.known_backbones import KNOWN_BACKBONES, KnownBackbone, weights_at_hand
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
    # 100 held-out pictures and 10 of valid are decoded again, and have three views more each
    asking = replace(FAST, asked=4)
    assert asking.seconds(100, 10, 1) == pytest.approx(
        FAST.seconds(100, 10, 1) + 110 * 0.01 + 330 * 0.002 + 300 * 0.01 + 30 * 0.02
    )
    assert asking.seconds(5000, 10, 1) - FAST.seconds(5000, 10, 1) == pytest.approx(
        1010 * 0.01 + 3030 * 0.002 + 3000 * 0.01 + 30 * 0.02
    )
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


@pytest.mark.thorough
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


@pytest.mark.thorough
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


def test_what_stands_side_by_side_costs_the_sum_and_has_no_other_size() -> None:
    pair = KnownBackbone("fast+slow", 85.0, 1.0)
    banked = replace(FAST, banked=1000)
    both = Speed.of_several(pair, [banked, SLOW])
    assert both.seconds(1000, 100, 1) == pytest.approx(1.5 + 100 * 0.03 + SLOW.seconds(1000, 100, 1))
    assert both.seconds(1000, 100, 4) == pytest.approx(banked.seconds(1000, 100, 4) + SLOW.seconds(1000, 100, 4))
    assert both.answer(1) == pytest.approx(2 * 0.01 + 0.02 + 0.2)
    assert both.answer(4) == pytest.approx(2 * (0.01 + 3 * 0.002) + 4 * (0.02 + 0.2))
    assert choose([FAST, SLOW, both], 1000, 100, 1_000).backbone == "fast+slow"
    # Too little for it at its own size: a single one is made smaller, the pair is not
    assert choose([FAST, Speed.of_several(pair, [FAST, SLOW])], 1000, 100, 28).crop == 160
    with pytest.raises(UserError, match=r"the least, fast\+slow at its own size with one view"):
        choose([both], 1000, 100, 28)


def test_many_pictures_count_before_a_better_classifier_and_patches_stay_whole() -> None:
    broad = replace(FAST, backbone="broad", quality=60.0, broad=True, step=14)
    assert choose([FAST, SLOW, broad], 1000, 100, 1_000).backbone == "broad"
    assert choose([broad], 1000, 100, 28).crop == 168  # three quarters, in patches of 14
    assert choose([broad], 1000, 100, 19).crop == 112


def test_a_download_is_part_of_the_estimate() -> None:
    far = replace(SLOW, download=100.0)
    assert far.seconds(1000, 100, 1) == pytest.approx(SLOW.seconds(1000, 100, 1) + 100)
    plan = choose([FAST, far], 1000, 100, 1_000)
    assert any("100 s of it are for downloading its weights" in line for line in plan.why)
    assert choose([FAST, far], 1000, 100, 250).backbone == "fast"


def test_the_table_has_each_candidate_and_what_came_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    plan = choose([FAST, replace(SLOW, quality=math.nan), replace(SLOW, download=7.0)], 1000, 100, 100)
    assert [one.verdict for one in plan.estimates] == ["takes too long", "taken, 4 views", "takes too long"]
    assert plan.estimates[1].seconds == pytest.approx({1: 24.5, 2: 36.5, 4: 60.5, 8: 108.5})
    training_reports.plan(plan)
    printed = " ".join(capsys.readouterr().out.split())
    assert "fast │ 70.0 │ 30 / 96 │ 24 / 36 / 60 / 108 │ │ taken, 4 views" in printed
    assert "slow │ 80.0 │ 210 / 816 │ 140 / 242 / 446 / 854 │ 7 │ takes too long" in printed
    assert "slow │ – │ 210 / 816 │ 132 / 234 / 438 / 846 │ │ takes too long" in printed


AT_ONCE = FitSettings(head="logistic")


def head_seconds(settings: FitSettings, dim: int = 64, pictures: int = 500, classes: int = 5) -> dict[int, float]:
    return budget._time_head(dim, pictures, classes, TrainOptions(head=settings))


def test_a_head_that_is_fitted_at_once_has_no_epochs() -> None:
    """Twenty times as many cost so much more of a head in steps, and nothing of one that has none."""
    steps = [head_seconds(FitSettings(epochs=epochs))[1] for epochs in (20, 400)]
    assert steps[1] > 5 * steps[0]
    once = [head_seconds(replace(AT_ONCE, epochs=epochs))[1] for epochs in (20, 400)]
    assert once[1] < 5 * once[0]
    assert len({operations_of(500, 4, 64, 5, replace(AT_ONCE, epochs=epochs)) for epochs in (20, 400)}) == 1


def test_steps_end_a_fit_before_its_epochs_do() -> None:
    short = FitSettings(epochs=1000, steps=20, batch=100)
    assert head_seconds(short, pictures=1000)[1] < head_seconds(replace(short, steps=0), pictures=1000)[1] / 50


@pytest.mark.thorough
def test_all_views_are_learnt_from_at_once_and_side_by_side_is_wide() -> None:
    told = TrainOptions(head=AT_ONCE)
    heads = head_seconds(AT_ONCE, 512, 6000, 100)
    assert heads[1] < heads[2] < heads[4] < heads[8] < 8 * heads[1]
    assert len(set(head_seconds(FitSettings(), 512, 6000, 100).values())) == 1  # each epoch draws one view of a picture
    speed = replace(FAST, head=heads[1], heads=heads, dim=512)
    assert speed.seconds(1000, 100, 4) == pytest.approx(FAST.seconds(1000, 100, 4) - FAST.head + heads[4])
    both = budget._of_several(KnownBackbone("fast+fast", 85.0, 1.0), [speed, speed], 6000, 100, told)
    wider = head_seconds(AT_ONCE, 1024, 6000, 100)
    assert (both.dim, both.head, both.heads) == (1024, wider[1], wider)
    assert wider[1] > 2.2 * heads[1]  # a system of equations goes with the cube of its width
    assert both.seconds(1000, 100, 2) == pytest.approx(2 * (speed.seconds(1000, 100, 2) - heads[2]) + wider[2])


@pytest.mark.thorough
@pytest.mark.parametrize(("head", "dim"), [("auto", 640), ("ridge", 1024), ("lda", 2048)])
def test_what_is_estimated_of_a_head_at_once_is_near_what_it_takes(
    head: Any, dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By processor time, as other programs run beside; with more rows and features than were timed."""
    monkeypatch.setattr("train.budget.time.perf_counter", time.process_time)
    budget._seconds_an_operation.cache_clear()
    settings = FitSettings(head=head)
    estimated = head_seconds(settings, dim, 600, 40)[2]
    features, labels = budget._random_features(600, dim, 40)
    started = time.process_time()
    fit_head(torch.cat([features, 0.9 * features], dim=1), labels, 40, settings)
    assert 1 / 4 < estimated / (time.process_time() - started) < 4


def pretend(monkeypatch: pytest.MonkeyPatch, network: float = 0.0) -> list[str]:
    """Measure nothing: each speed is as its multiply-adds; what was asked for is listed."""
    measured: list[str] = []

    def measure(name: str, *_: object) -> Speed:
        measured.append(name)
        known = KNOWN_BACKBONES[name]
        return replace(FAST, backbone=name, quality=known.top1, network=network * known.multiply_adds)

    monkeypatch.setattr(budget, "measure_speed", measure)
    return measured


@pytest.fixture
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing here"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)


def plain(tmp_path: Path) -> TrainOptions:
    return TrainOptions(views=1, models=tmp_path, device="cpu")


@pytest.mark.usefixtures("nothing_here")
def test_offline_only_what_is_at_hand_is_considered(
    garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights_at_hand("efficientnet_lite0")
    assert weights_at_hand("offline")
    assert not weights_at_hand("resnet152")
    assert not weights_at_hand("offline+resnet50")
    monkeypatch.setattr(DownloadedWeights, "is_reachable", lambda _: pytest.fail("a look at the network"))
    measured = pretend(monkeypatch)
    plan = plan_budget(garden, 60, plain(tmp_path), offline=True)
    assert measured == ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
    assert plan.backbone == "offline"  # three side by side make fewer mistakes than the best of them
    assert [one.speed.backbone for one in plan.estimates] == ["offline", *reversed(measured)]
    assert "Not at hand, so not considered offline" in plan.why[-1]
    assert "resnet152" in plan.why[-1]
    # Without a network connection it is the same, and a package that is missing is no network's matter
    monkeypatch.setattr(DownloadedWeights, "is_reachable", lambda _: False)
    monkeypatch.setattr(
        "train.features.packaged_weights.find_spec", lambda name: None if "lite2" in name else find_spec(name)
    )
    measured.clear()
    plan = plan_budget(garden, 60, plain(tmp_path))
    assert measured == ["efficientnet_lite0", "efficientnet_lite1"]
    assert "Not installed, so not considered: efficientnet_lite2, offline." in plan.why
    assert any(line.startswith("Not at hand and no network connection") for line in plan.why)


@pytest.mark.usefixtures("nothing_here")
def test_online_what_may_be_downloaded_is_considered(
    garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DownloadedWeights, "is_reachable", lambda _: True)
    measured = pretend(monkeypatch)
    plan = plan_budget(garden, 60, plain(tmp_path))
    assert "vit_small_patch14_dinov2" in measured
    assert "resnet50" in measured
    # A licence of its own is nobody's choice but the user's
    assert "vit_small_patch16_dinov3" not in measured
    assert any("under a licence of its own" in line and "vit_small_patch16_dinov3" in line for line in plan.why)
    assert plan.backbone == "vit_large_patch14_dinov2"


def test_what_cannot_fit_by_what_the_others_took_is_not_measured(
    garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "weights_at_hand", lambda _: True)
    measured = pretend(monkeypatch, network=1.0)
    plan = plan_budget(garden, 40, plain(tmp_path))
    assert measured[:2] == ["mobilenet_v3_large", "efficientnet_lite0"]
    assert "resnet152" not in measured
    assert any(line.startswith("resnet152 was not measured: it would take") for line in plan.why)


@pytest.mark.usefixtures("nothing_here")
def test_nothing_to_choose_from_is_said(garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"weights of resnet50 are not at hand, and --offline allows no download"):
        plan_budget(garden, 60, plain(tmp_path), candidates=["resnet50"], offline=True)
    monkeypatch.setattr("train.features.packaged_weights.find_spec", lambda _: None)
    with pytest.raises(UserError, match="No backbone is at hand, nor a way to download one"):
        plan_budget(garden, 60, plain(tmp_path), offline=True)


@pytest.mark.usefixtures("nothing_here")
def test_speed_is_measured_with_random_weights_where_there_are_none(garden: Path, tmp_path: Path) -> None:
    """Nothing is downloaded to plan with: not even what a run would download."""
    found = plan_budget(garden, 600, plain(tmp_path), candidates=["mobilenet_v3_small"]).estimates[0].speed
    assert found.network > 0
    assert 1.0 < found.download < 10.0  # some megabytes at four a second


def test_networks_that_are_named_together_are_measured_each_with_its_weights(garden: Path, tmp_path: Path) -> None:
    names = f"{TINY}+timm:test_efficientnet"
    told = replace(options(tmp_path), backbone=names)
    plan = plan_budget(garden, 600, told, candidates=[names])
    assert (plan.backbone, plan.crop) == (names, 0)
    assert [part.backbone for part in plan.speeds[0].parts] == names.split("+")


def test_what_stands_side_by_side_is_given_no_published_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    both = Speed.of_several(KnownBackbone("fast+slow", 83.7, 1.0), [FAST, SLOW])
    training_reports.plan(choose([both, FAST], 100, 10, 600))
    told = " ".join(capsys.readouterr().out.split())
    assert "–, ranked as 83.7" in told
    assert "│ 70.0 │" in told


def test_no_time_at_all_is_said(garden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Nothing fits a budget of 0 s"):
        plan_budget(garden, 0.001, options(tmp_path))
