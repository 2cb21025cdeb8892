"""What fits a budget of time: candidate backbones are measured here for a moment, and the best that fits wins.

A network connection is counted on only where there is one: backbones whose weights are not at hand are then measured
with random ones, and their download is part of the estimate.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch

from curate.errors import UserError
from curate.files.reading import read_file
from curate.image import BrokenImage
from curate.parallel import ordered_map
from curate.progress import Progress, silent
from curate.splitting.since_split import open_current_split
from train.backbone_names import networks_named
from train.backbones import Backbone
from train.features.bank import CLEAN, FeatureBank
from train.features.extract import bank_key
from train.features.freeze import FrozenNetwork
from train.features.views import Views
from train.head import fit_head, threads_for
from train.heads.held_out import MOST_ASKED
from train.heads.operations import operations_of
from train.known_backbones import KNOWN_BACKBONES, KnownBackbone, known_backbone, published_weights, weights_at_hand
from train.optimising.fitting import epochs_of
from train.optimising.settings import FitSettings
from train.options import weights_by_network
from train.pictures import LabelledPicture
from train.timm_networks import patch_of
from train.training import Place, TrainOptions, load_backbones, pictures_of, require_of_the_bank

VIEW_COUNTS: Final = (8, 4, 2, 1)
SIZES: Final = (1.0, 0.75, 0.5)  # of the pixels a side that the weights were made for

_SHARES: Final = dict(zip(SIZES, ("its own size", "three quarters of its size", "half its size"), strict=True))
_SAMPLE = 16  # pictures that are decoded and computed to measure a speed
_MARGIN = 0.85  # of the budget is planned for: the rest is for what a moment's measurement does not show
_PLANNING = 0.2  # of the budget at most goes into measuring
_DOWNLOAD = 4e6  # bytes a second that a download is taken to have: none is made to measure
_HEAD = 512  # pictures, and features of them, by which a head that is fitted at once is timed
_GAIN = 4.0  # how much faster, at best, a multiply-add of a larger network may run than one of a smaller


@dataclass(frozen=True)
class Speed:
    """What one candidate costs here. Seconds are for one picture or one view, at the size its weights were made for.

    Of several networks side by side each has its own in `parts`, and what stands here is their sum.
    """

    backbone: str
    quality: float  # top-1 on ImageNet, in percent; NaN where nobody published one
    crop: int  # pixels a side
    decode: float  # read, decode and cut the clean view
    draw: float  # cut one more view
    network: float  # one view through the network in the precision of training
    exact: float  # and in float32, as valid is measured
    overlap: bool  # decoding goes on beside the network: it runs on another processor
    head: float  # fitting the head, all of it
    load: float  # loading the weights
    banked: int = 0  # of the training pictures, how many need no more than the bank has for one view
    download: float = 0.0  # of the weights, which are not at hand
    broad: bool = False  # its weights were learnt from a hundred million pictures or more
    step: int = 16  # pixels by which its size may change
    asked: int = 1  # views that answers are tried from, on held-out pictures and then on valid
    parts: tuple["Speed", ...] = ()
    dim: int = 0  # features of a view
    heads: Mapping[int, float] | None = None  # the same by views, of VIEW_COUNTS, where all are learnt from at once

    @classmethod
    def of_several(cls, candidate: KnownBackbone, parts: Sequence["Speed"]) -> "Speed":
        """What several networks cost together: each decodes for itself, and a head's work goes with its width."""
        total = {
            name: sum(getattr(one, name) for one in parts)
            for name in ("decode", "draw", "network", "exact", "head", "load", "download", "dim")
        }
        return cls(
            backbone=candidate.name, quality=candidate.top1, broad=candidate.broad, parts=tuple(parts),
            crop=max(one.crop for one in parts), overlap=any(one.overlap for one in parts),
            banked=min(one.banked for one in parts), **total,
        )  # fmt: skip

    @property
    def sizes(self) -> tuple[float, ...]:
        """Of SIZES, those at which it can be used: several networks have no size in common."""
        return SIZES[:1] if self.parts else SIZES

    @property
    def rank(self) -> tuple[float, ...]:
        """Less is better. Features of many pictures serve more purposes than a classifier's of ImageNet's thousand."""
        return not self.broad, -self.quality if math.isfinite(self.quality) else 0.0, self.network

    def seconds(self, train: int, valid: int, views: int, size: float = 1.0) -> float:
        """What a run takes by estimate: the network's part goes with the square of the size."""
        return self._features(train, valid, views, size) + (self.heads[views] if self.heads else self.head)

    def _features(self, train: int, valid: int, views: int, size: float) -> float:
        if self.parts:
            return sum(part._features(train, valid, views, size) for part in self.parts)
        fresh = train - (self.banked if size == 1.0 else 0)
        more = train * (views - 1)
        held_out, further = min(train, MOST_ASKED), self.asked - 1
        again = held_out + valid if further else 0
        # A further view of a picture whose clean one is banked has to decode it again
        pixels = ((train if more else fresh) + valid + again) * self.decode + (more + again * further) * self.draw
        learnt, measured = fresh + more + held_out * further, valid * self.asked
        computed = (learnt * self.network + measured * self.exact) * size * size
        return self.download + self.load + (max(pixels, computed) if self.overlap else pixels + computed)

    def answer(self, views: int) -> float:
        """Seconds that a picture takes to be predicted from so many views."""
        return self.decode + (views - 1) * self.draw + views * self.exact


@dataclass(frozen=True)
class Estimate:
    """What one candidate would take: a line of the plan's table."""

    speed: Speed
    seconds: dict[int, float]  # by views
    verdict: str  # what came of it


@dataclass(frozen=True)
class TrainingPlan:
    """What to train with, what it will take by estimate, and why."""

    backbone: str
    crop: int  # 0: the size that the weights were made for
    views: int
    seconds: float
    budget: float
    estimates: list[Estimate]  # best first
    why: list[str]

    @property
    def speeds(self) -> list[Speed]:
        """What was measured, best first."""
        return [one.speed for one in self.estimates]

    def applied_to(self, options: TrainOptions) -> TrainOptions:
        """The options with the plan's choices in them."""
        return replace(options, backbone=self.backbone, crop=self.crop, views=self.views)


def parse_duration(text: str) -> float:
    """Seconds of "60s", "5m", "1.5h" or "90"; UserError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if seconds <= 0:
        raise UserError(f"--budget {text!r} is no time: write 60s, 5m or 1h.")
    return seconds


def plan_budget(
    root: Path,
    seconds: float,
    options: TrainOptions,
    *,
    candidates: Sequence[str] | None = None,
    offline: bool = False,
    progress: Progress = silent,
) -> TrainingPlan:
    """Measure the candidates (default: known backbones that can be had) and choose what fits `seconds`.

    What can be had is what lies on this machine and, unless `offline` or without a network connection, what may be
    downloaded under a licence that allows every use. Cheap ones are measured first, and one that cannot fit by what the
    others took is not tried. Raises UserError where nothing fits, with what the least would take, and before anything
    is measured for options that leave nothing to plan.
    """
    started = time.perf_counter()
    _require_a_choice(options)
    if candidates is None and str(options.weights) != "default":
        candidates = [options.backbone]  # weights belong to the networks that are named
    train, valid, labels = pictures_of(open_current_split(root))
    place = Place.of(options, None, progress)
    if candidates:
        wanted, absent = [KNOWN_BACKBONES.get(name) or known_backbone(name) for name in candidates], dict[str, str]()
    else:
        absent = {name: reason for name in KNOWN_BACKBONES if (reason := _not_to_be_had(name, offline=offline))}
        wanted = sorted(
            (one for name, one in KNOWN_BACKBONES.items() if name not in absent), key=lambda one: one.multiply_adds
        )
    _require_candidates(wanted, options, offline=offline)
    networks = list(dict.fromkeys(network for candidate in wanted for network in candidate.networks))
    own = weights_by_network(options.weights, networks) if candidates else dict.fromkeys(networks, "default")
    measured: dict[str, Speed] = {}
    why = []
    with progress("Measuring backbones", len(networks)) as advance:
        for name in networks:
            spent, least = time.perf_counter() - started, _least_seconds(name, measured, len(train), len(valid))
            if measured and not candidates and max(spent / _PLANNING, least) > seconds:
                took = f"measuring had taken {spent:.0f} s already" if spent > _PLANNING * seconds else ""
                why.append(f"{name} was not measured: {took or f'it would take {least:.0f} s or more'}.")
            else:
                measured[name] = measure_speed(name, train, len(labels), replace(options, weights=own[name]), place)
            advance(1)
    speeds = [
        measured[one.name]
        if one.networks == [one.name]
        else _of_several(one, [measured[network] for network in one.networks], len(train), len(labels), options)
        for one in wanted
        if all(network in measured for network in one.networks)
    ]
    why += [
        f"{reason}: {', '.join(name for name, other in absent.items() if other == reason)}."
        for reason in dict.fromkeys(absent.values())
    ]
    plan = choose(speeds, len(train), len(valid), seconds, spent=time.perf_counter() - started)
    return replace(plan, why=plan.why + why)


def choose(speeds: Sequence[Speed], train: int, valid: int, budget: float, *, spent: float = 0.0) -> TrainingPlan:
    """The best candidate that fits with one view at its own size, then as many views as fit; smaller only if none does.

    A better network is worth more than more views of a lesser one, and both more than pixels: that is the order.
    `train` and `valid` are numbers of pictures, `budget` and `spent` are seconds. Raises UserError where none fits.
    """
    left = _MARGIN * budget - spent
    ranked = sorted(speeds, key=lambda one: one.rank)
    for size in SIZES:
        for speed in ranked:
            for views in VIEW_COUNTS if size in speed.sizes else ():
                estimate = speed.seconds(train, valid, views, size)
                if estimate <= left:
                    crop = 0 if size == 1.0 else max(2 * speed.step, int(speed.crop * size / speed.step) * speed.step)
                    return TrainingPlan(
                        speed.backbone, crop, views, estimate, budget,
                        _estimates(speed, ranked, size, views, (train, valid, left)),
                        _reasons(speed, ranked, size, views, (train, valid, left)),
                    )  # fmt: skip
    least = min((one.seconds(train, valid, 1, one.sizes[-1]), one.backbone, one.sizes[-1]) for one in speeds)
    raise UserError(
        f"Nothing fits a budget of {budget:.0f} s: the least, {least[1]} at {_SHARES[least[2]]} with one view, would "
        f"take about {math.ceil((least[0] + spent) / _MARGIN)} s. Give a larger --budget, or fewer pictures."
    )


def measure_speed(
    name: str, train: Sequence[LabelledPicture], classes: int, options: TrainOptions, place: Place
) -> Speed:
    """Load a backbone and time it for a moment: decoding, drawing, the network and the head, each the better of two."""
    started = time.perf_counter()
    absent = str(options.weights) == "default" and not weights_at_hand(name)
    # Weights that are not at hand are as fast as random ones
    weights = "none" if absent else options.weights
    (backbone,) = load_backbones(name, weights, seed=options.seed, cut=options.features)
    load = time.perf_counter() - started
    size = sum(value.numel() * value.element_size() for value in backbone.network.state_dict().values())
    known = KNOWN_BACKBONES.get(name)
    step = max(1, len(train) // _SAMPLE)
    sample = train[::step][:_SAMPLE]
    views = Views(max(VIEW_COUNTS), options.seed, options.augmentation)
    heads = _time_head(backbone.dim, len(train), classes, options)
    one, several = (_time_pixels(backbone, sample, views, count) for count in (1, 4))
    return Speed(
        backbone=name,
        quality=known.top1 if known else math.nan,
        crop=backbone.preprocessing.crop,
        decode=one,
        draw=max(0.0, several - one) / 3,
        network=_time_network(FrozenNetwork(backbone.network, backbone.preprocessing, place.device, place.precision)),
        exact=_time_network(FrozenNetwork(backbone.network, backbone.preprocessing, place.device, "float32")),
        overlap=place.device.type != "cpu",
        head=heads[1],
        heads=heads,
        dim=backbone.dim,
        load=load,
        banked=_banked(backbone, train, options, place),
        download=size / _DOWNLOAD if absent else 0.0,
        broad=known is not None and known.broad,
        step=patch if (patch := patch_of(backbone.network)) > 1 else 16,
        asked=1 if options.head.head == "sgd" else options.asked_views,
    )


def _of_several(
    candidate: KnownBackbone, parts: Sequence[Speed], train: int, classes: int, options: TrainOptions
) -> Speed:
    """`Speed.of_several`; what a head that is fitted at once takes does not go with its width, and is asked anew."""
    found = Speed.of_several(candidate, parts)
    if options.head.head == "sgd":
        return found
    heads = _time_head(found.dim, train, classes, options)
    return replace(found, head=heads[1], heads=heads)


def _require_a_choice(options: TrainOptions) -> None:
    """Raise UserError for a network that is to be trained, which is not timed, and for what the plan would overrule."""
    if not options.tuning.frozen:
        raise UserError("A budget is planned for a frozen network: leave --unfreeze out, or --budget.")
    require_of_the_bank(options)
    said = [name for name in ("views", "crop") if name in options.asked]
    if said:
        raise UserError(f"--budget chooses {' and '.join(said)}: leave {said[0]} out, or --budget.")


def _require_candidates(wanted: Sequence[KnownBackbone], options: TrainOptions, *, offline: bool) -> None:
    """Raise UserError where there is nothing to choose from, or what is named would have to be downloaded."""
    if not wanted:
        raise UserError(
            "No backbone is at hand, nor a way to download one: install Florilegium anew, which brings three, or name "
            "one with --backbone NAME --weights FILE."
        )
    if not offline or str(options.weights) != "default":
        return
    if absent := [one.name for one in wanted if not weights_at_hand(one.name)]:
        raise UserError(
            f"The weights of {absent[0]} are not at hand, and --offline allows no download: leave one of the two out, "
            "or pass --weights FILE."
        )


def _not_to_be_had(name: str, *, offline: bool) -> str:
    """Why a candidate is not considered; "" where it can be had."""
    if weights_at_hand(name):
        return ""
    missing = [published_weights(network) for network in networks_named(name)]
    weights = [one for one in missing if one is not None and not one.at_hand()]
    if len(weights) < 1:
        return "Not installed, so not considered"
    if offline:
        return "Not at hand, so not considered offline (a run with --backbone NAME fetches one)"
    if not all(one.is_reachable() for one in weights):
        return "Not at hand and no network connection, so not considered"
    if not all(one.is_free for one in weights):
        return "Not at hand, and under a licence of its own, so not considered (a run with --backbone NAME fetches one)"
    return ""


def _least_seconds(name: str, measured: Mapping[str, Speed], train: int, valid: int) -> float:
    """What a backbone would take at the very least, by the multiply-adds of the dearest one measured so far."""
    known = [one for one in measured if one in KNOWN_BACKBONES]
    if name not in KNOWN_BACKBONES or not known:
        return 0.0
    dearest = max(known, key=lambda one: KNOWN_BACKBONES[one].multiply_adds)
    ratio = KNOWN_BACKBONES[name].multiply_adds / KNOWN_BACKBONES[dearest].multiply_adds / _GAIN
    return (train + valid) * measured[dearest].network * ratio * SIZES[-1] ** 2


def _time_pixels(backbone: Backbone, sample: Sequence[LabelledPicture], views: Views, count: int) -> float:
    def prepare(picture: LabelledPicture) -> bool:
        try:
            data = read_file(picture.path)
            views.pixels(data, str(picture.path), "", range(count), backbone.preprocessing)
        except (OSError, BrokenImage):
            return False
        return True

    def once() -> float:
        started = time.perf_counter()
        good = sum(ordered_map(prepare, sample))
        return (time.perf_counter() - started) / max(1, good)

    return min(once(), once())


def _time_network(network: FrozenNetwork) -> float:
    crop = network.preprocessing.crop
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (_SAMPLE, crop, crop, 3), dtype=np.uint8))

    def once() -> float:
        started = time.perf_counter()
        network(pixels).cpu()
        return (time.perf_counter() - started) / _SAMPLE

    once()
    return min(once(), once())


def _time_head(dim: int, pictures: int, classes: int, options: TrainOptions) -> dict[int, float]:
    """Seconds to fit a head, by views of each picture."""
    settings = options.head
    if settings.head == "sgd":
        return dict.fromkeys(VIEW_COUNTS, _time_steps(dim, pictures, classes, settings, options.seed))
    each = _seconds_an_operation(classes, settings)
    return {views: each * operations_of(pictures, views, dim, classes, settings) for views in VIEW_COUNTS}


def _time_steps(dim: int, pictures: int, classes: int, settings: FitSettings, seed: int) -> float:
    """One epoch on random features of at most 1,000 pictures, scaled to the whole: each draws one view of a picture."""
    count = min(1000, pictures)
    features, labels = _random_features(count, dim, classes)
    started = time.perf_counter()
    with threads_for(settings):
        fit_head(features, labels, classes, replace(settings, epochs=1, steps=0), seed=seed)
    return (time.perf_counter() - started) * pictures / count * epochs_of(pictures, settings)


@lru_cache(maxsize=8)
def _seconds_an_operation(classes: int, settings: FitSettings) -> float:
    """Of those of a head that is fitted at once: it has no epochs, so that a small one of all its parts is timed."""
    classes = min(classes, _HEAD // 4)  # so that each has pictures in several folds
    features, labels = _random_features(_HEAD, _HEAD, classes)
    started = time.perf_counter()
    with threads_for(settings):
        fit_head(features, labels, classes, settings)
    return (time.perf_counter() - started) / operations_of(_HEAD, 1, _HEAD, classes, settings)


def _random_features(count: int, dim: int, classes: int) -> tuple[torch.Tensor, list[int]]:
    """Features (count, 1, dim) in clusters, rectified as pooled ones are, and a class of each."""
    generator = torch.Generator().manual_seed(0)
    labels = [number % classes for number in range(count)]
    centres = torch.randn(classes, dim, generator=generator)
    features = (centres[labels] + torch.randn(count, dim, generator=generator)).relu_()
    return features[:, None], labels


def _banked(backbone: Backbone, train: Sequence[LabelledPicture], options: TrainOptions, place: Place) -> int:
    """Training pictures whose clean view the bank has, of those whose content the catalog knows."""
    folder, key = options.models / "bank", bank_key(backbone, place.precision, place.device, compiled=place.compiled)
    if not (folder / key.file_name()).is_file():
        return 0
    with FeatureBank(folder, key) as bank:
        known = bank.views_of([CLEAN])
    return sum(picture.sha256 in known for picture in train if picture.sha256)


def _estimates(
    chosen: Speed, ranked: Sequence[Speed], size: float, views: int, run: tuple[int, int, float]
) -> list[Estimate]:
    train, valid, left = run
    found = []
    for speed in ranked:
        seconds = {count: speed.seconds(train, valid, count) for count in sorted(VIEW_COUNTS)}
        if speed is chosen:
            verdict = f"taken, {views} view{'s' if views > 1 else ''}" + (f" at {size:.0%}" if size < 1.0 else "")
        elif seconds[1] > left:
            verdict = "takes too long"
        else:
            verdict = "fits, and is less good"
        found.append(Estimate(speed, seconds, verdict))
    return found


def _reasons(speed: Speed, ranked: Sequence[Speed], size: float, views: int, run: tuple[int, int, float]) -> list[str]:
    train, valid, left = run
    estimate = speed.seconds(train, valid, views, size)
    plural = "s" if views > 1 else ""
    chosen = f"{speed.backbone} with {views} view{plural} at {size:.0%} of its own size takes about {estimate:.0f} s"
    why = [f"{chosen}; {left:.0f} s were left to plan with."]
    for other in ranked[: ranked.index(speed)]:
        needs = other.seconds(train, valid, 1, size)
        why.append(f"{other.backbone} is better, but would take {needs:.0f} s with one view.")
    more = [count for count in VIEW_COUNTS if count > views]
    if more:
        needs = speed.seconds(train, valid, more[-1], size)
        why.append(f"With {more[-1]} views it would take {needs:.0f} s.")
    if speed.download:
        why.append(
            f"{speed.download:.0f} s of it are for downloading its weights, at {_DOWNLOAD / 1e6:.0f} MB/s: that was "
            "taken for granted, not measured."
        )
    if size < 1.0:
        why.append("Nothing fits at its own size, so pictures are made smaller; that costs accuracy.")
    return why
