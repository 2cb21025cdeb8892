"""The heat map lies where what decides lies, whatever the network and the head, and is Grad-CAM where that holds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import nn

from curate.errors import UserError
from tests.commanding import command
from tests.training_ground import TINY, small_checkpoint
from train.backbones import load_backbone
from train.checkpoint import Checkpoint, save_checkpoint
from train.explaining import heat_map
from train.features.freeze import FrozenNetwork
from train.features.preprocessing import Preprocessing
from train.heat_plot import overlay
from train.optimising.layers import Head
from train.predict import Predictor

CPU = torch.device("cpu")
PLAIN = Preprocessing(64, 64, "bilinear", (0.0,) * 3, (1.0,) * 3)
MARKS = ("ring", "bars", "cross", "none")  # the last is the ground alone, so that the ground speaks for no mark
CORNERS = {(0.25, 0.25): "upper left", (0.75, 0.25): "upper right", (0.25, 0.75): "lower left"}


def marked(kind: str, seed: int, corner: tuple[float, float], size: tuple[int, int] = (260, 260)) -> Image.Image:
    """A cloudy ground that says nothing, and in one corner the mark that alone tells the class."""
    source = np.random.default_rng(seed)
    clouds = Image.fromarray((source.random((12, 12, 3)) * 120 + 60).astype(np.uint8))
    image = clouds.resize(size, Image.Resampling.BICUBIC)
    pen, (x, y), r = ImageDraw.Draw(image), (corner[0] * size[0], corner[1] * size[1]), 34
    if kind == "ring":
        for step in range(4):
            inner = r - 8 * step
            colour = (200, 20, 20) if step % 2 else (250, 240, 20)
            pen.ellipse((x - inner, y - inner, x + inner, y + inner), fill=colour)
    elif kind == "bars":
        for step in range(4):
            top = y - r + 17 * step
            pen.rectangle((x - r, top, x + r, top + 9), fill=(20, 40, 220) if step % 2 else (240, 240, 240))
    elif kind == "cross":
        pen.rectangle((x - r, y - 8, x + r, y + 8), fill="black")
        pen.rectangle((x - 8, y - r, x + 8, y + r), fill="black")
    return image


def share_in(values: NDArray[np.float32], corner: tuple[float, float]) -> float:
    """The share of the map in the quarter of the picture round a corner."""
    height, width = values.shape
    rows = slice(None, height // 2) if corner[1] < 0.5 else slice(height // 2, None)
    columns = slice(None, width // 2) if corner[0] < 0.5 else slice(width // 2, None)
    return float(values[rows, columns].sum())


def frozen(network: nn.Module, preprocessing: Preprocessing = PLAIN) -> FrozenNetwork:
    return FrozenNetwork(network.eval().requires_grad_(False), preprocessing, CPU, "float32")


def linear(weights: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Linear:
    head = nn.Linear(weights.shape[1], weights.shape[0])
    with torch.no_grad():
        head.weight.copy_(weights)
        head.bias.copy_(torch.zeros(len(weights)) if bias is None else bias)
    return head.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def learnt() -> tuple[FrozenNetwork, dict[tuple[float, float], Head]]:
    """A pretrained network, and for each corner a head that was fitted to pictures with a mark there."""
    backbone = load_backbone("efficientnet_lite0")
    network = frozen(backbone.network, backbone.preprocessing)
    heads: dict[tuple[float, float], Head] = {}
    for corner in CORNERS:
        pictures = [marked(kind, seed, corner) for kind in MARKS for seed in range(8)]
        seen = torch.from_numpy(np.stack([backbone.preprocessing.clean(one) for one in pictures]))
        features = network(seen).double()
        targets = torch.eye(4, dtype=torch.float64).repeat_interleave(8, dim=0) - 1 / 4
        mean = features.mean(dim=0)
        centred = features - mean
        inner = centred @ centred.T + 10 * torch.eye(len(centred), dtype=torch.float64)
        weights = (centred.T @ torch.linalg.solve(inner, targets)).T
        heads[corner] = linear(weights.float(), -(weights @ mean).float())
    return network, heads


@pytest.mark.parametrize("corner", CORNERS, ids=CORNERS.values())
def test_the_mark_that_alone_decides_has_the_map(
    learnt: tuple[FrozenNetwork, dict[tuple[float, float], Head]], corner: tuple[float, float]
) -> None:
    network, heads = learnt
    shares = []
    for index, kind in enumerate(MARKS[:3]):
        picture = marked(kind, 100, corner)
        seen = network.preprocessing.clean(picture)[None]
        logits = heads[corner](network(torch.tensor(seen)))
        assert int(logits.argmax()) == index
        values = heat_map([network], heads[corner], [seen], picture.size, kind, index).values
        shares.append(share_in(values, corner))
    assert min(shares) > 0.45, shares  # a quarter would be chance
    assert np.mean(shares) > 0.65, shares


class RedSeen(nn.Module):
    """Features: how much red, and how much blue, is in the picture, and it has places until they are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 2, 8, stride=8, bias=False)
        with torch.no_grad():
            self.look.weight.zero_()
            self.look.weight[0, 0] = self.look.weight[1, 2] = 1 / 64

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.relu(self.look(pictures)).mean(dim=(2, 3))
        return found


class Attends(nn.Module):
    """A class token that attends to red patches alone, in PyTorch's own attention or in one written out."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.look = nn.Conv2d(3, 4, 8, stride=8, bias=False)
        self.cls_token = nn.Parameter(torch.tensor([[[0.0, 0.0, 0.0, 8.0]]]))
        self.attention = nn.MultiheadAttention(4, 1, bias=False, batch_first=True)
        self.norm = nn.Identity()
        with torch.no_grad():
            self.look.weight.zero_()
            for channel in range(3):
                self.look.weight[channel, channel] = 1 / 64
            query, key = torch.zeros(4, 4), torch.zeros(4, 4)
            query[0, 3], key[0, 0] = 1.0, 4.0  # what the class token asks for is red
            self.attention.in_proj_weight.copy_(torch.cat([query, key, torch.eye(4)]))
            self.attention.out_proj.weight.copy_(torch.eye(4))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        patches = self.look(pictures).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        if self.how == "module":
            mixed = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        else:
            query, key, value = (tokens @ part.T for part in self.attention.in_proj_weight.chunk(3))
            query, key, value = query[:, None], key[:, None], value[:, None]
            if self.how == "fused":
                mixed = nn.functional.scaled_dot_product_attention(query, key, value)[:, 0]
            else:
                mixed = ((query @ key.transpose(-2, -1) / 2).softmax(dim=-1) @ value)[:, 0]
        answer: torch.Tensor = self.norm(tokens + mixed)[:, 0]
        return answer


def red_in(corner: tuple[float, float], size: tuple[int, int] = (64, 64)) -> Image.Image:
    image = Image.new("RGB", size, (0, 90, 0))
    left, top = int((corner[0] - 0.125) * size[0]), int((corner[1] - 0.125) * size[1])
    image.paste((250, 0, 0), (left, top, left + size[0] // 4, top + size[1] // 4))
    return image


@pytest.mark.parametrize("corner", CORNERS, ids=CORNERS.values())
@pytest.mark.parametrize("network", ["convolutional", "module", "fused", "written out"])
@pytest.mark.parametrize("layers", ["linear", "hidden"])
def test_what_a_network_attends_to_has_the_map(network: str, layers: str, corner: tuple[float, float]) -> None:
    """By construction nothing but red speaks for class 0."""
    made: nn.Module = RedSeen() if network == "convolutional" else Attends(network)
    dim = 2 if network == "convolutional" else 4
    weights = torch.zeros(2, dim)
    weights[0, 0] = 3.0
    head: Head = linear(weights)
    if layers == "hidden":
        head = nn.Sequential(linear(torch.eye(dim)), nn.ReLU(), head).eval()
    picture = red_in(corner)
    found = heat_map([frozen(made)], head, [PLAIN.clean(picture)[None]], picture.size, "red", 0)
    assert share_in(found.values, corner) > 0.9
    assert found.values.sum() == pytest.approx(1, abs=1e-4)
    assert found.values.min() >= 0


def test_it_is_grad_cam_where_places_are_averaged() -> None:
    """By Selvaraju's formula: weights are mean gradients, and their sum with the activations is cut at 0."""
    torch.manual_seed(1)
    layer = nn.Sequential(nn.Conv2d(3, 16, 16, stride=16), nn.ReLU())

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.layer(pictures).mean(dim=(2, 3))
            return found

    head = nn.Sequential(nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 3)).eval().requires_grad_(False)
    picture = marked("ring", 3, (0.25, 0.25), (64, 64))
    seen = PLAIN.clean(picture)[None]
    places = layer(PLAIN.normalise(torch.tensor(seen))).detach().requires_grad_()
    logits = head(places.mean(dim=(2, 3)))[0]
    (logits[1] - logits.mean()).backward()
    assert places.grad is not None
    expected = (places.grad.mean(dim=(2, 3))[0, :, None, None] * places[0].detach()).sum(dim=0).clamp(min=0)
    assert expected.sum() > 0
    found = heat_map([frozen(Pooled())], head, [seen], (64, 64), "b", 1).values
    coarse = found.reshape(4, 32, 4, 32).mean(axis=(1, 3))
    assert np.corrcoef(coarse.ravel(), expected.numpy().ravel())[0, 1] > 0.97  # it is drawn smoothly between places
    assert coarse.argmax() == expected.argmax()


def test_of_two_networks_the_one_that_decides_has_the_map() -> None:
    """Side by side: the head listens to one of them, whose crop is another."""
    wide = replace(PLAIN, resize=64, crop=64)
    narrow = replace(PLAIN, resize=128, crop=64)  # sees the middle quarter
    networks = [frozen(RedSeen(), wide), frozen(RedSeen(), narrow)]
    picture = Image.new("RGB", (128, 128), (0, 90, 0))
    picture.paste((250, 0, 0), (4, 4, 28, 28))  # outside of what the second sees
    picture.paste((250, 0, 0), (76, 76, 92, 92))
    pixels = [one.preprocessing.clean(picture)[None] for one in networks]
    for heard, corner in ((0, (0.25, 0.25)), (1, (0.75, 0.75))):
        weights = torch.zeros(2, 4)
        weights[0, 2 * heard] = 1.0
        found = heat_map(networks, linear(weights), pixels, picture.size, "red", 0)
        assert share_in(found.values, corner) > (0.5 if heard == 0 else 0.9)
        assert found.box == (0, 0, 1, 1)


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64), (900, 70), (70, 2000)])
def test_nothing_lies_where_nothing_was_seen(size: tuple[int, int]) -> None:
    cut = replace(PLAIN, resize=80)
    picture = Image.new("RGB", size, (200, 0, 0))
    weights = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    found = heat_map([frozen(RedSeen(), cut)], linear(weights), [cut.clean(picture)[None]], size, "red", 0)
    left, top, right, bottom = found.box
    assert (right - left) * size[0] == pytest.approx((bottom - top) * size[1], rel=0.03), "the crop is a square"
    assert (left + right) / 2 == pytest.approx(0.5, abs=0.02)
    height, width = found.values.shape
    assert max(width, height) / min(width, height) == pytest.approx(min(max(size) / min(size), 8), rel=0.02)
    y, x = np.mgrid[:height, :width]
    across, down = (x + 0.5) / width, (y + 0.5) / height
    outside = (across < left) | (across > right) | (down < top) | (down > bottom)
    assert not found.values[outside].any()
    assert found.values[~outside].min() > 0
    assert overlay(picture, found).size == size


def test_the_box_is_what_the_crop_shows() -> None:
    """The picture says where each of its pixels came from."""
    for size in ((300, 200), (200, 311), (97, 333), (50, 1000), (256, 256)):
        for shape in (replace(PLAIN, resize=80), PLAIN, replace(PLAIN, squash=True)):
            width, height = size
            ramp = np.zeros((height, width, 3), np.uint8)
            ramp[..., 0] = (np.arange(width) * 255 / max(1, width - 1))[None, :]
            ramp[..., 1] = (np.arange(height) * 255 / max(1, height - 1))[:, None]
            seen = shape.clean(Image.fromarray(ramp)).astype(float) / 255
            left, top, right, bottom = shape.box(size)
            assert seen[32, 32, 0] == pytest.approx((left + right) / 2, abs=0.03)
            assert seen[32, 32, 1] == pytest.approx((top + bottom) / 2, abs=0.03)
            assert seen[32, 0, 0] == pytest.approx(left, abs=0.03)
            assert seen[63, 32, 1] == pytest.approx(bottom, abs=0.03)


def test_the_same_picture_has_the_same_map() -> None:
    checkpoint = small_checkpoint()
    picture = marked("bars", 5, (0.75, 0.25))
    maps = [Predictor(checkpoint, "cpu", views=views).explain(picture, "10").values for views in (1, 1, 3)]
    assert np.array_equal(maps[0], maps[1])
    assert np.array_equal(maps[0], maps[2]), "the clean view is explained, however many are averaged"


def test_it_changes_nothing_in_the_network() -> None:
    predictor = Predictor(small_checkpoint(), "cpu")
    picture = marked("ring", 1, (0.25, 0.25))
    before = predictor.probabilities([picture])
    predictor.explain(picture, "2")
    assert np.array_equal(predictor.probabilities([picture]), before)
    parts = [predictor.checkpoint.head, *(one.network for one in predictor.checkpoint.backbones)]
    assert all(one.grad is None for part in parts for one in part.parameters())


def test_half_precision_gives_the_same_map() -> None:
    checkpoint = small_checkpoint()
    picture = marked("ring", 7, (0.25, 0.75))
    backbone = checkpoint.backbones[0]
    seen = backbone.preprocessing.clean(picture)[None]
    exact, half = (
        heat_map([FrozenNetwork(backbone.network, backbone.preprocessing, CPU, precision)], checkpoint.head, [seen],
                 picture.size, "2", 2).scaled()
        for precision in ("float32", "bfloat16")
    )  # fmt: skip
    assert exact.any()
    assert np.abs(exact - half).mean() < 0.05


def test_a_network_without_places_says_so() -> None:
    class Flat(nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return pictures.mean(dim=(2, 3))

    picture = red_in((0.25, 0.25))
    with pytest.raises(UserError, match="leave --explain out"):
        heat_map([frozen(Flat())], linear(torch.eye(3)), [PLAIN.clean(picture)[None]], picture.size, "red", 0)


def test_a_class_that_is_unknown_is_named() -> None:
    with pytest.raises(UserError, match="knows no class 'tulip'"):
        Predictor(small_checkpoint(), "cpu").explain(red_in((0.25, 0.25)), "tulip")


# -- the command


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(small_checkpoint(), tmp_path_factory.mktemp("models"))


def test_predict_says_where_the_maps_are(checkpoint: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        marked("ring", 1, (0.25, 0.25), (200, 150)).save(tmp_path / folder / "rose.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    arguments = ("--checkpoint", checkpoint, "--device", "cpu", "--explain", tmp_path / "maps")
    files = [tmp_path / "one" / "rose.jpg", tmp_path / "broken.jpg", tmp_path / "two" / "rose.jpg"]
    done = command("predict", *files, *arguments, "--json", "--plot", tmp_path / "plot.png")
    assert done.code == 2
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert "heat_map" not in lines[1]
    written = [Path(lines[number]["heat_map"]) for number in (0, 2)]
    assert written[0] != written[1], "two pictures of one name have a map each"
    assert {path.parent for path in written} == {tmp_path / "maps"}
    for path in written:
        with Image.open(path) as drawn:
            assert drawn.size == (400, 300), "the whole picture, enlarged"
    with Image.open(tmp_path / "plot.png") as plot:
        assert plot.width > 900, "the maps stand beside the pictures"
    again = command("predict", files[0], *arguments)
    assert again.code == 0
    assert str(written[0]) in again.out, "a map of ours is drawn anew"


def test_no_file_of_others_is_replaced(checkpoint: Path, tmp_path: Path) -> None:
    red_in((0.25, 0.25)).save(tmp_path / "rose.jpg")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "rose.jpg.png").write_bytes(b"mine")
    done = command("predict", tmp_path / "rose.jpg", "--checkpoint", checkpoint, "--explain", tmp_path / "maps")
    assert "was not drawn by this program" in done.sentence
    assert (tmp_path / "maps" / "rose.jpg.png").read_bytes() == b"mine"
    done = command("predict", tmp_path / "rose.jpg", "--checkpoint", checkpoint, "--explain", tmp_path / "rose.jpg")
    assert "cannot be made" in done.sentence


def test_a_checkpoint_of_a_vision_transformer_is_explained(tmp_path: Path) -> None:
    """It is one of timm's, whose attention is computed in one piece."""
    given: Checkpoint = small_checkpoint()
    torch.manual_seed(3)
    backbones = [load_backbone("timm:test_vit", "none"), load_backbone(TINY, "none")]
    head = nn.Linear(sum(one.dim for one in backbones), 3).eval().requires_grad_(False)
    predictor = Predictor(replace(given, backbones=backbones, head=head), "cpu")
    found = predictor.explain(marked("cross", 2, (0.75, 0.25)), "1")
    assert found.values.sum() == pytest.approx(1, abs=1e-4)
    assert len(np.unique(found.values)) > 100
