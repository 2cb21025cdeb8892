"""Whatever mode, depth, transparency and profile a decoded picture has → 8-bit sRGB."""

import io
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_STRIP = 256  # rows converted at a time, so that a large picture of 32 bits needs little beside itself


def to_rgb(image: Image.Image, ground: str) -> Image.Image:
    """Whatever Pillow's mode, 8-bit sRGB with alpha laid over a ground."""
    profile = image.info.get("icc_profile")
    if image.mode == "RGB" and not profile and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_eight_bits(image)
    if image.has_transparency_data:
        return _over_ground(image, profile, ground)
    if image.mode in {"1", "P"}:
        image = image.convert("L" if image.mode == "1" else "RGB")
    return _to_srgb(image, profile)


def needs_transform(image: Image.Image) -> bool:
    """Whether an embedded profile says something else of its colours than sRGB does."""
    profile = image.info.get("icc_profile")
    return bool(profile) and _srgb_transform(profile, image.mode) is not None


def _over_ground(image: Image.Image, profile: object, ground: str) -> Image.Image:
    """Lay what is transparent over a ground, so that the colours hidden under it do not matter.

    Grey stays grey until its profile is applied: a profile for grey says nothing of RGB.
    """
    image = image.convert("LA" if image.mode in {"1", "L", "LA", "La"} else "RGBA")
    colour = image.getchannel("L") if image.mode == "LA" else image.convert("RGB")
    canvas = Image.new("RGB", image.size, ground)
    canvas.paste(_to_srgb(colour, profile), mask=image.getchannel("A"))
    return canvas


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or float, scaled to 0…255, where convert("L") would clip it to white.

    16 bits are divided by 257, whatever is in the picture. Wider numbers do not say where white is: floats up to 1
    are taken for 0…1, anything up to 255 stays, integers up to 65,535 are taken for 16 bits, and beyond that the
    highest value is white. Negative numbers and NaN are black.
    """
    values = np.asarray(image)
    scale = 1 / 257
    if not (image.mode.startswith("I;16") or (image.format == "PPM" and image.mode == "I")):
        highest = max((float(strip[np.isfinite(strip)].max(initial=0)) for strip in _strips(values)), default=0.0)
        scale = _eight_bit_scale(highest, is_float=image.mode == "F")
    eight = np.empty(values.shape, np.uint8)
    for strip, into in zip(_strips(values), _strips(eight), strict=True):
        scaled = np.nan_to_num(strip.astype(np.float64) * scale, nan=0.0)
        np.rint(np.clip(scaled, 0, 255), out=into, casting="unsafe")
    result = Image.fromarray(eight)
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # a PNG of 16 bits may call one grey transparent
        result.putalpha(Image.fromarray(values != clear).convert("L"))
    return result


def _eight_bit_scale(highest: float, *, is_float: bool) -> float:
    if is_float and highest <= 1:
        return 255.0
    if highest <= 255:
        return 1.0
    return 1 / 257 if highest <= 65535 and not is_float else 255 / highest


def _strips(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    return (values[top : top + _STRIP] for top in range(0, len(values), _STRIP))


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Apply an embedded ICC profile; one that is broken or of another colour space is passed over."""
    if isinstance(profile, bytes) and profile:
        transform = _srgb_transform(profile, image.mode)
        if transform is not None:
            try:
                converted = ImageCms.applyTransform(image, transform)
            except (ImageCms.PyCMSError, ValueError):
                converted = None
            if converted is not None:
                return converted
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=64)
def _srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform from an ICC profile to sRGB, or None where there is nothing to do or nothing to be done.

    Cached, because a folder of photographs holds few distinct profiles and building a transform costs more than
    decoding a small picture.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and "sRGB" in (ImageCms.getProfileDescription(source) or ""):
            return None
        return ImageCms.buildTransform(source, _srgb_profile(), mode, "RGB")
    except Exception:  # whatever is wrong with a profile, the picture itself may be whole
        return None


@lru_cache(maxsize=1)
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
