"""What happens to a picture on its way through the web: the edits that copies of it are made by, as bytes of a file."""

import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageDraw, ImageEnhance, ImageOps

Make = Callable[[Image.Image], bytes]


@dataclass(frozen=True)
class Edit:
    """One way to make a copy: `make` takes an RGB picture and gives the bytes of the copy's file.

    `kind` is "plain" (the frame stays), "framed" (it does not) or "turned" (found with `geometry` alone).
    """

    name: str
    kind: str
    make: Make


def encode(picture: Image.Image, file_format: str = "JPEG", quality: int = 90, **options: object) -> bytes:
    """A picture as the bytes of a file."""
    file = io.BytesIO()
    picture.save(file, file_format, quality=quality, **options)
    return file.getvalue()


def scaled(picture: Image.Image, across: float, down: float) -> Image.Image:
    """Resized by a factor for each axis."""
    size = max(1, round(picture.width * across)), max(1, round(picture.height * down))
    return picture.resize(size, Image.Resampling.LANCZOS)


def cropped(picture: Image.Image, share: float) -> Image.Image:
    """That share of the width and the height cut off at each of the four edges."""
    x, y = round(picture.width * share), round(picture.height * share)
    return picture.crop((x, y, picture.width - x, picture.height - y))


def bordered(picture: Image.Image, share: float, colour: str) -> Image.Image:
    """An even border round the picture, as wide as that share of its short side."""
    return ImageOps.expand(picture, round(min(picture.size) * share), fill=colour)


def captioned(picture: Image.Image, share: float, *, below: bool) -> Image.Image:
    """A bar with words, as high as that share of the picture: over its lower edge, or added below."""
    bar = max(1, round(picture.height * share))
    top = picture.height if below else picture.height - bar
    canvas = Image.new("RGB", (picture.width, top + bar), "black")
    canvas.paste(picture)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, top, picture.width, top + bar), fill="black")
    draw.text((bar * 0.4, top + bar * 0.15), "a flower in a garden · © its author", fill="white", font_size=bar * 0.6)
    return canvas


def turned_by_exif(picture: Image.Image) -> bytes:
    """Turned by a quarter, with an EXIF orientation that turns it back."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encode(picture.transpose(Image.Transpose.ROTATE_90), exif=exif)


def turned_by_exif_and_saved_anew(picture: Image.Image) -> bytes:
    """A file that EXIF turns, saved anew by a program that turns the pixels and drops the tag."""
    turned = Image.open(io.BytesIO(turned_by_exif(picture)))
    return encode(ImageOps.exif_transpose(turned).convert("RGB"))


EDITS = (
    Edit("recompressed, quality 75", "plain", lambda picture: encode(picture, quality=75)),
    Edit("recompressed, quality 50", "plain", lambda picture: encode(picture, quality=50)),
    Edit("recompressed, quality 25", "plain", lambda picture: encode(picture, quality=25)),
    Edit("halved", "plain", lambda picture: encode(scaled(picture, 0.5, 0.5))),
    Edit("re-encoded as PNG", "plain", lambda picture: encode(picture, "PNG", compress_level=1)),
    Edit("re-encoded as WebP", "plain", lambda picture: encode(picture, "WEBP", 80)),
    Edit("grey", "plain", lambda picture: encode(picture.convert("L"))),
    Edit("stretched by 20%", "plain", lambda picture: encode(scaled(picture, 1.2, 1.0))),
    Edit("brighter by 30%", "plain", lambda picture: encode(ImageEnhance.Brightness(picture).enhance(1.3))),
    Edit("cropped by 3% a side", "framed", lambda picture: encode(cropped(picture, 0.03))),
    Edit("cropped by 8% a side", "framed", lambda picture: encode(cropped(picture, 0.08))),
    Edit("caption bar over 10%", "framed", lambda picture: encode(captioned(picture, 0.1, below=False))),
    Edit("caption bar below, 8%", "framed", lambda picture: encode(captioned(picture, 0.08, below=True))),
    Edit("white border of 4%", "framed", lambda picture: encode(bordered(picture, 0.04, "white"))),
    Edit("black border of 10%", "framed", lambda picture: encode(bordered(picture, 0.1, "black"))),
    Edit("cut to a square", "framed", lambda picture: encode(ImageOps.fit(picture, (min(picture.size),) * 2))),
    Edit("turned by EXIF", "framed", turned_by_exif),
    Edit("mirrored", "turned", lambda picture: encode(ImageOps.mirror(picture))),
    Edit("turned by 90°", "turned", lambda picture: encode(picture.transpose(Image.Transpose.ROTATE_90))),
    Edit("turned by 180°", "turned", lambda picture: encode(picture.transpose(Image.Transpose.ROTATE_180))),
    Edit("turned by 270°", "turned", lambda picture: encode(picture.transpose(Image.Transpose.ROTATE_270))),
)
"""What copies are measured by, one edit at a time: the radius that `calibrate` recommends rests on the plain ones."""

FURTHER_EDITS = (
    Edit("reduced to a third", "plain", lambda picture: encode(scaled(picture, 1 / 3, 1 / 3))),
    Edit("contrast stretched", "plain", lambda picture: encode(ImageOps.autocontrast(picture, cutoff=2))),
    Edit("turned by EXIF, saved anew", "plain", turned_by_exif_and_saved_anew),
)
"""Edits that lie together with others of one photograph in `benchmarks/groups.py`."""
