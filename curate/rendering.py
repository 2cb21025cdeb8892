"""What we draw ourselves: lines of text that fit, in a font that has their signs, and files that say who drew them."""

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from PIL import Image, ImageFont
from PIL.PngImagePlugin import PngInfo

from curate.errors import UserError
from curate.files.atomic import written_whole
from curate.files.reading import open_file

INK: Final = (32, 32, 32)
FAINT: Final = (112, 112, 112)
PAPER: Final = (255, 255, 255)

Font = ImageFont.FreeTypeFont

_BY: Final = "Florilegium"
_SHOWN_SIGNS: Final = 12
_ELLIPSIS: Final = "..."  # three signs, which every font has

# Pillow's own font has the signs of English alone. These are looked for by name wherever the system keeps its fonts:
# first what most Linux, macOS and Windows machines have, then those with the signs of Chinese, Japanese and Korean.
_FONTS: Final = (
    "DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "Helvetica.ttc", "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "NotoSansJP-Regular.otf", "SourceHanSans-Regular.ttc",
    "wqy-zenhei.ttc", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf", "Hiragino Sans GB.ttc", "msyh.ttc",
    "YuGothM.ttc", "malgun.ttf", "NotoEmoji-Regular.ttf", "Symbola.ttf", "seguiemj.ttf",
)  # fmt: skip


def font_for(text: str, size: int) -> Font:
    """The first font at hand that has every sign of `text`, or else the one that lacks fewest; `size` in pixels."""
    fonts = [font for name in ("", *_FONTS) if (font := _font(name, size))]
    return min(fonts, key=lambda font: sum(not _has(font, sign) for sign in set(text) if not sign.isspace()))


def without_font(texts: Iterable[str]) -> str:
    """A sentence about the signs of `texts` that no font at hand has, drawn as boxes then; "" if there are none.

    A text is drawn in one font, so one of several scripts may need a font that has them all.
    """
    lacking: dict[str, None] = {}
    for text in dict.fromkeys(texts):
        font = font_for(text, 14)
        lacking |= dict.fromkeys(sign for sign in text if not sign.isspace() and not _has(font, sign))
    if not lacking:
        return ""
    shown = "".join(list(lacking)[:_SHOWN_SIGNS]) + ("…" if len(lacking) > _SHOWN_SIGNS else "")
    return (
        f"No font of this machine has the signs {shown}, so they are drawn as boxes: install one that does, such as "
        f"Noto Sans CJK or Noto Emoji."
    )


def fitted(text: str, font: Font, width: int) -> str:
    """`text` on one line, its end left out where it would be wider than `width` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    kept = next(
        (count for count in range(len(text), 0, -1) if font.getlength(text[:count].rstrip() + _ELLIPSIS) <= width), 0
    )
    return text[:kept].rstrip() + _ELLIPSIS


def wrapped(text: str, font: Font, width: int, lines: int) -> list[str]:
    """`text` on at most so many lines of `width` pixels, broken between words where it can be, its end left out."""
    words = text.split()
    found: list[str] = []
    while words and len(found) < lines - 1:
        count = next(
            (count for count in range(len(words), 1, -1) if font.getlength(" ".join(words[:count])) <= width), 1
        )
        found.append(fitted(" ".join(words[:count]), font, width))
        words = words[count:]
    return [*found, fitted(" ".join(words), font, width)] if words else found


def thumbnail(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The whole of a picture, RGB, at the scale that just fits `width` × `height` pixels, enlarged at most twice."""
    scale = min(width / picture.width, height / picture.height, 2.0)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def require_place(file: Path) -> None:
    """Raise `UserError` where a drawing can't go: no PNG, a folder, or in the place of what we did not draw."""
    if file.suffix.lower() != ".png":
        raise UserError(f"{file} does not end in .png, which is what is drawn: give it another name.")
    if file.is_dir():
        raise UserError(f"{file} is a folder: give the name of a file.")
    if os.path.lexists(file) and not _is_ours(file):
        raise UserError(f"{file} is there already, and was not drawn by this program: give another name.")


def save_drawing(drawn: Image.Image, file: Path) -> None:
    """Write an RGB picture as a PNG, whole or not at all; raises `UserError` where a file that is not ours is there."""
    require_place(file)
    about = PngInfo()
    about.add_text("Software", _BY)
    try:
        with written_whole(file) as stream:
            drawn.save(stream, "PNG", pnginfo=about)
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror or error}): give it another place.") from error


def _is_ours(file: Path) -> bool:
    if file.is_symlink():
        return False
    try:
        with open_file(file) as opened:
            return f"tEXtSoftware\0{_BY}".encode() in opened.read(256)
    except OSError:
        return False


@cache
def _font(name: str, size: int) -> Font | None:
    try:
        found = ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    except OSError:
        return None
    return found if isinstance(found, Font) else None  # without FreeType Pillow has a font of dots alone


@cache
def _has(font: Font, sign: str) -> bool:
    """Whether the font draws a sign of its own, and not the box that stands for all that it lacks."""
    return bytes(font.getmask(sign)) != bytes(font.getmask("\U0010ffff"))
