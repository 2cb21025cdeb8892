"""What a network wants its pictures to look like: scaled, cropped, normalised, never bent."""

from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from train.limits import MAX_CROP
from train.options import Normalise

INTERPOLATIONS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

# A strip of 1 × 50,000 pixels scaled to a short side of 256 would take 10 GB: beyond this ratio its ends go first.
_LONGEST_RATIO: Final = 8

# Pictures go through a network in batches of any size up to this crop, and in smaller ones beyond.
_CROP_OF_WHOLE_BATCHES: Final = 512

_SCALES: Final = (1e-4, 1e4)  # of what is divided by

Triple = tuple[float, float, float]
IMAGENET: Final[tuple[Triple, Triple]] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's pictures, of 0 to 1."""

_NORMALISATIONS: Final[dict[str, tuple[Triple, Triple]]] = {"imagenet": IMAGENET, "half": ((0.5,) * 3, (0.5,) * 3)}


@dataclass(frozen=True)
class Preprocessing:
    """Scale the short side to `resize`, cut the middle `crop` × `crop`, subtract `mean`, divide by `std`.

    With `squash` the whole picture is bent into `crop` × `crop` instead.

    Equal bit for bit to torchvision's `Resize(resize)`, `CenterCrop(crop)`, `ToTensor()` on the same pixels. The
    normalisation is applied to a whole batch at once, so a picture travels as 8-bit pixels until then.
    """

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    squash: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.crop <= self.resize:
            raise ValueError(f"a crop of {self.crop} pixels does not fit a short side of {self.resize}")
        if self.crop > MAX_CROP or self.resize > 2 * MAX_CROP:
            raise ValueError(f"pictures of {self.crop} pixels out of {self.resize} are larger than can be computed")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"unknown interpolation {self.interpolation!r}")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(_SCALES[0] <= one <= _SCALES[1] for one in self.std):
            raise ValueError(f"mean {self.mean} and std {self.std} are not three channels")
        if not all(abs(one) <= _SCALES[1] for one in self.mean):
            raise ValueError(f"the mean {self.mean} is none of a picture")

    def at_once(self, batch: int) -> int:
        """How many pictures go through a network together where `batch` may: fewer of very large ones."""
        return max(1, min(batch, int(batch * (_CROP_OF_WHOLE_BATCHES / self.crop) ** 2)))

    def clean(self, picture: Image.Image) -> NDArray[np.uint8]:
        """The view that is evaluated and predicted from: (crop, crop, 3) 8-bit RGB."""
        if self.squash:
            size = (self.crop, self.crop)
            return np.asarray(picture.resize(size, INTERPOLATIONS[self.interpolation]), dtype=np.uint8)
        picture = _without_far_ends(picture)
        scaled, (left, top) = self._scaled(picture.size)
        if picture.size != scaled:
            picture = picture.resize(scaled, INTERPOLATIONS[self.interpolation])
        return np.asarray(picture.crop((left, top, left + self.crop, top + self.crop)), dtype=np.uint8)

    def box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """What `clean` shows of a picture of a `size` (width, height): left, top, right, bottom, in shares of it."""
        if self.squash:
            return 0.0, 0.0, 1.0, 1.0
        (cut_x, cut_y), (width, height) = _far_ends(size)
        scaled, (left, top) = self._scaled((width, height))
        step_x, step_y = width / scaled[0] / size[0], height / scaled[1] / size[1]
        left_edge, top_edge = cut_x / size[0] + left * step_x, cut_y / size[1] + top * step_y
        return left_edge, top_edge, left_edge + self.crop * step_x, top_edge + self.crop * step_y

    def _scaled(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """The size of a picture scaled to `resize`, and the left and upper edge of the crop in it."""
        width, height = size
        short = min(width, height)
        # torchvision truncates the long side and rounds the offset; both are kept to be equal to it
        scaled = int(self.resize * width / short), int(self.resize * height / short)
        return scaled, (round((scaled[0] - self.crop) / 2), round((scaled[1] - self.crop) / 2))

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn 8-bit pixels (N, crop, crop, 3) into the network's input, (N, 3, crop, crop) float32, channels last."""
        mean, std = (_on(pixels.device, values) for values in (self.mean, self.std))
        return pixels.to(torch.float32).div_(255).sub_(mean).div_(std).permute(0, 3, 1, 2)

    def as_asked(self, normalise: Normalise, *, squash: bool) -> "Preprocessing":
        """The same with another mean and deviation, by name, or with the picture bent."""
        mean, std = _NORMALISATIONS.get(normalise, (self.mean, self.std))
        return replace(self, mean=mean, std=std, squash=squash or self.squash)

    def at(self, crop: int) -> "Preprocessing":
        """The same for a crop of so many pixels a side: as much of a picture is shown, larger or smaller."""
        return replace(self, crop=crop, resize=round(self.resize * crop / self.crop))

    def to_dict(self) -> dict[str, Any]:
        """Plain types alone, as a checkpoint and a bank's key keep it; what is not bent does not say so."""
        plain = {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
        return plain if self.squash else {key: value for key, value in plain.items() if key != "squash"}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Preprocessing":
        """Read what `to_dict` wrote; raises TypeError, KeyError or ValueError where it is not that."""
        red, green, blue = (float(value) for value in plain["mean"])
        spread_red, spread_green, spread_blue = (float(value) for value in plain["std"])
        return cls(
            resize=int(plain["resize"]),
            crop=int(plain["crop"]),
            interpolation=str(plain["interpolation"]),
            mean=(red, green, blue),
            std=(spread_red, spread_green, spread_blue),
            squash=plain.get("squash") is True,
        )


@lru_cache(maxsize=64)
def _on(device: torch.device, values: tuple[float, float, float]) -> torch.Tensor:
    """They are kept there: to bring them anew for each batch, a GPU would first finish all that it has to do."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device)


def _without_far_ends(picture: Image.Image) -> Image.Image:
    (left, top), (width, height) = _far_ends(picture.size)
    if picture.size == (width, height):
        return picture
    return picture.crop((left, top, left + width, top + height))


def _far_ends(size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The left and upper edge, and the size, of what stays of a very long picture."""
    longest = min(size) * _LONGEST_RATIO
    width, height = (min(side, longest) for side in size)
    return ((size[0] - width) // 2, (size[1] - height) // 2), (width, height)
