"""The close comparison: copies differ nowhere, and pictures that differ in one place are no copies."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from curate.lookalikes.close_look import look_closely
from curate.lookalikes.comparison import Comparison, compare
from curate.lookalikes.edits import bordered, captioned, cropped, encode, scaled
from curate.lookalikes.looks import Plain, look_at_plain
from tests.pictures import scene

WHOLE = (0.0, 1.0, 0.0, 1.0)


def photograph(seed: int = 1) -> Image.Image:
    return scene(seed, 480, 360)


def held(first: bytes, second: bytes, placement: tuple[float, float, float, float] = WHOLE) -> Comparison:
    return compare(look_closely(first), look_closely(second), placement)


def look(picture: Image.Image, **options: object) -> bytes:
    return encode(picture, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "edit",
    [
        lambda it: encode(it, quality=25),
        lambda it: encode(scaled(it, 0.5, 0.5)),
        lambda it: encode(it.convert("L")),
        lambda it: encode(ImageEnhance.Brightness(it).enhance(1.3)),
        lambda it: encode(ImageEnhance.Contrast(it).enhance(1.4)),
        lambda it: encode(ImageOps.autocontrast(it, cutoff=2)),
        lambda it: encode(scaled(it, 1.2, 1.0)),
        lambda it: encode(it, "WEBP", 80),
    ],
    ids=["quality 25", "halved", "grey", "brighter", "contrast", "stretched tones", "stretched", "webp"],
)
def test_what_fills_the_frame_is_a_copy_whichever_is_first(edit: Callable[[Image.Image], bytes]) -> None:
    for seed in range(3):
        original, copy = encode(photograph(seed)), edit(photograph(seed))
        assert held(original, copy).is_copy()
        assert held(copy, original).is_copy()


def narrowed(picture: Image.Image, most: int) -> Image.Image:
    """Its blue has so few tones, as that of a yellow flower."""
    red, green, blue = picture.split()
    return Image.merge("RGB", (red, green, blue.point(lambda it: it * most // 255)))


def lettered(picture: Image.Image) -> Image.Image:
    """White letters on it, as thin as a pixel of the close look."""
    written = picture.point(lambda it: int(10 + 0.85 * it))
    ImageDraw.Draw(written).text((20, 20), "Iris, Lily, Aster", fill="white", font_size=16)
    return written


@pytest.mark.parametrize(
    "picture",
    [narrowed(photograph(seed), most) for seed in range(3) for most in (40, 55)] + [lettered(scene(4, 960, 720))],
    ids=[*(f"blue up to {most}, {seed}" for seed in range(3) for most in (40, 55)), "thin letters"],
)
def test_tones_that_are_stretched_far_are_those_of_a_copy(picture: Image.Image) -> None:
    original, copy = encode(picture), encode(ImageOps.autocontrast(picture, cutoff=2))
    assert held(original, copy).is_copy()
    assert held(copy, original).is_copy()


def waving(light: Callable[[NDArray[np.float64]], NDArray[np.float64]], seed: int, *colours: str) -> Image.Image:
    """A flag of upright bands under light that changes down, 0 to 1, with a grain of its own."""
    flag = np.asarray(bands(*colours).resize((600, 400)), np.float64)
    grain = np.random.default_rng(seed).normal(0, 6, flag.shape)
    return Image.fromarray(
        np.clip(flag * light(np.linspace(0, 1, 400))[:, None, None] + grain, 0, 255).astype(np.uint8)
    )


def wind(y: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.7 + 0.3 * np.sin(7 * y)


def test_light_that_fits_any_part_of_stripes_makes_no_part() -> None:
    """Along the stripes of two flags nothing tells that one is a part of the other."""
    colours = "#14b53a", "#fcd116", "#ce1126"
    whole, part = waving(wind, 1, *colours), waving(lambda y: wind(0.18 + 0.82 * y), 2, *colours)
    found = held(encode(part), encode(whole), (0, 1, 0.18, 1))
    assert found.difference < 1
    assert not found.is_copy()
    assert held(encode(whole.crop((60, 40, 560, 400))), encode(whole), (0.1, 0.9333, 0.1, 1)).is_copy()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("white", "black", "white"), ("#e8283c", "black", "#e8283c")),
        (("#002395", "#009246", "black"), ("#002395", "#12b53a", "black")),
    ],
    ids=["white and red", "two greens"],
)
def test_flags_in_one_wind_are_told_apart_by_their_colours(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    one, other = encode(waving(wind, 1, *first)), encode(waving(wind, 2, *second))
    assert not held(one, other).is_copy()
    assert not held(other, one).is_copy()


def test_even_colours_of_a_small_drawing_compare_as_colours() -> None:
    """Of two countries' flags each colour is a little another."""
    sizes = (130, 87), (60, 40)
    for size in sizes:
        one, other = (
            bands(*colours).resize(size)
            for colours in (("#002b7f", "#fcd116", "#ce1126"), ("#002664", "#fecb00", "#c60c30"))
        )
        assert not held(encode(one, "PNG"), encode(other, "PNG")).is_copy()
        assert held(encode(one, "PNG"), encode(one, quality=75)).is_copy()


def test_a_crop_says_that_the_whole_holds_more() -> None:
    found = held(encode(cropped(photograph(), 0.08)), encode(photograph()), (0.07, 0.93, 0.07, 0.93))
    assert found.is_copy()
    assert (found.beyond_first, found.beyond_second) == ("", "more")
    assert np.allclose(found.placement, (0.08, 0.92, 0.08, 0.92), atol=0.01)


@pytest.mark.parametrize("colour", ["white", "black", "teal"])
def test_a_border_is_no_part_of_the_scene(colour: str) -> None:
    share = round(360 * 0.05)
    inner = (share / (480 + 2 * share), 1 - share / (480 + 2 * share), share / (360 + 2 * share))
    found = held(encode(photograph()), encode(bordered(photograph(), 0.05, colour)), (*inner, 1 - inner[2]))
    assert found.is_copy()
    assert (found.beyond_first, found.beyond_second) == ("", "bar")


def test_a_caption_over_the_picture_is_left_out_and_named() -> None:
    found = held(encode(photograph()), encode(captioned(photograph(), 0.1, below=False)))
    assert found.is_copy()
    assert (found.beyond_first, found.beyond_second) == ("", "bar")


def shaded(ragged: int) -> Image.Image:
    """A photograph with a black shadow along its lower edge, which ends so many rows sooner or later."""
    pixels = np.asarray(photograph()).copy()
    ends = np.random.default_rng(5).integers(0, ragged, 48).repeat(10)
    pixels[np.arange(360)[:, None] >= 335 - ends] = 4
    return Image.fromarray(pixels)


@pytest.mark.parametrize("ragged", [12, 20, 30])
def test_a_black_caption_is_one_over_the_shadow_at_the_edge_of_a_photograph_too(ragged: int) -> None:
    original = shaded(ragged)
    found = held(encode(original), encode(captioned(original, 0.1, below=False)))
    assert found.is_copy()
    assert (found.beyond_first, found.beyond_second) == ("", "bar")


@pytest.mark.parametrize("share", [0.06, 0.1, 0.15])
def test_photographs_with_other_words_in_a_banner_are_no_copies(share: float) -> None:
    """As two frames of the news: the banner is the scene's, and what differs in it is no caption."""
    one = np.asarray(captioned(photograph(), share, below=False))
    other = one.copy()
    rows = round(360 * share)
    other[-rows:] = other[-rows:, ::-1]
    found = held(encode(Image.fromarray(one)), encode(Image.fromarray(other)))
    assert not found.is_copy()


def test_two_crops_of_one_scene_that_each_hold_more_are_no_copies() -> None:
    left, right = photograph().crop((0, 0, 420, 360)), photograph().crop((60, 0, 480, 360))
    found = held(encode(left), encode(right), (-60 / 420, 360 / 420, 0, 1))
    assert found.difference < 1
    assert not found.is_copy()


def with_line(picture: Image.Image) -> Image.Image:
    scratched = picture.copy()
    ImageDraw.Draw(scratched).line((200, 100, 260, 125), fill=(10, 10, 10), width=3)
    return scratched


def with_label(word: str) -> Image.Image:
    page = Image.new("RGB", (400, 400), "white")
    draw = ImageDraw.Draw(page)
    draw.rounded_rectangle((130, 60, 270, 380), 30, fill=(40, 90, 60))
    draw.rectangle((140, 180, 260, 280), fill=(245, 240, 225))
    draw.text((150, 200), word, fill=(20, 20, 20), font_size=30)
    return page


def form(name: str) -> Image.Image:
    page = Image.new("RGB", (425, 550), "white")
    draw = ImageDraw.Draw(page)
    for row in range(12):
        draw.text((30, 30 + 40 * row), f"Question {row}", fill="black", font_size=14)
        draw.line((130, 48 + 40 * row, 390, 48 + 40 * row), fill="black")
    draw.text((140, 470), name, fill="black", font_size=15)
    return page


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (photograph(), with_line(photograph())),
        (with_label("AMBER"), with_label("THYME")),
        (form("Ada Byron"), form("Grace Murray")),
        (form(""), form("Grace Murray")),
    ],
    ids=["a scratch", "another label", "filled in otherwise", "filled in"],
)
def test_one_place_that_differs_makes_no_copy_but_a_near_picture(first: Image.Image, second: Image.Image) -> None:
    found = held(encode(first), encode(second))
    assert not found.is_copy()
    assert found.is_near()


def bands(*colours: str) -> Image.Image:
    flag = Image.new("RGB", (300, 200))
    for at, colour in enumerate(colours):
        flag.paste(colour, (100 * at, 0, 100 * at + 100, 200))
    return flag


def test_one_shape_in_other_colours_is_neither_copy_nor_near() -> None:
    found = held(encode(bands("green", "white", "red"), "PNG"), encode(bands("blue", "white", "red"), "PNG"))
    assert not found.is_copy()
    assert not found.is_near()


def drawn(*shapes: tuple[str, tuple[int, int, int, int]]) -> bytes:
    """Black rings, strokes and bars on white, 96 × 96."""
    canvas = Image.new("L", (96, 96), 255)
    pen = ImageDraw.Draw(canvas)
    for shape, box in shapes:
        if shape == "ring":
            pen.ellipse(box, outline=0, width=6)
        elif shape == "stroke":
            pen.line(box, fill=0, width=4)
        else:
            pen.rectangle(box, fill=0)
    return encode(canvas, "PNG")


def upright(length: int) -> tuple[str, tuple[int, int, int, int]]:
    return "bar", (45, 48 - length // 2, 50, 48 + length // 2)


@pytest.mark.parametrize(("one", "other"), [(46, 34), (76, 34), (34, 18)])
def test_a_longer_bar_is_no_part_of_a_shorter_one(one: int, other: int) -> None:
    """Whichever box lays one upon the other: that of their ink does so exactly."""
    ratio = one / other
    first, second = drawn(upright(one)), drawn(upright(other))
    assert not held(first, second, (0.0, 1.0, 0.5 - 0.5 / ratio, 0.5 + 0.5 / ratio)).is_copy()
    assert not held(second, first, (0.0, 1.0, 0.5 - 0.5 * ratio, 0.5 + 0.5 * ratio)).is_copy()


def test_a_drawing_that_was_squeezed_as_a_whole_is_a_copy() -> None:
    picture = Image.open(BytesIO(drawn(("ring", (24, 30, 70, 76)), ("bar", (30, 8, 66, 14)))))
    for width, height in ((96, 70), (60, 96), (192, 96)):
        assert held(encode(picture), encode(picture.resize((width, height), Image.Resampling.LANCZOS))).is_copy()


def test_an_accent_above_a_letter_is_no_caption() -> None:
    """Though it stands in an even strip that the top of the letter ends."""
    letter = ("ring", (27, 20, 70, 72))
    dotted = drawn(letter, ("bar", (45, 8, 51, 14)), ("bar", (38, 0, 58, 2)))
    caron = drawn(letter, ("stroke", (39, 9, 48, 17)), ("stroke", (48, 17, 57, 9)))
    assert not held(dotted, caron).is_copy()
    assert not held(caron, dotted).is_copy()


def test_even_drawings_are_compared_in_their_own_tones() -> None:
    """A photograph may be lighter and the same; of a flag the colours are what it shows."""
    assert not held(encode(bands("#800000", "#808080", "#000080"), "PNG"), encode(
        bands("#a00000", "#a0a0a0", "#0000a0"), "PNG")).is_copy()  # fmt: skip


def digit(shift: int) -> Image.Image:
    small = Image.new("L", (28, 28))
    ImageDraw.Draw(small).line((8 + shift, 5, 18, 22), fill=255, width=3)
    return small.convert("RGB")


def test_small_pictures_are_copies_only_as_they_are_but_for_recompression() -> None:
    assert held(encode(digit(0), "PNG"), encode(digit(0), quality=80)).is_copy()
    assert not held(encode(digit(0), "PNG"), encode(digit(2), "PNG")).is_copy()
    assert not held(encode(digit(0), "PNG"), encode(scaled(digit(0), 2, 2), "PNG")).is_copy()
    assert not held(encode(digit(0), "PNG"), encode(ImageEnhance.Brightness(digit(0)).enhance(0.6), "PNG")).is_copy()


def drawing(shape: Callable[[ImageDraw.ImageDraw], None]) -> bytes:
    clear = Image.new("RGBA", (200, 200), (255, 255, 255, 0))
    shape(ImageDraw.Draw(clear))
    return encode(clear, "PNG")


def test_white_drawings_on_nothing_are_told_apart_by_what_is_transparent() -> None:
    circle = drawing(lambda draw: draw.ellipse((40, 40, 160, 160), fill=(255, 255, 255, 255)))
    square = drawing(lambda draw: draw.rectangle((60, 60, 150, 150), fill=(255, 255, 255, 255)))
    assert not held(circle, square).is_copy()
    assert held(circle, circle).is_copy()


def animation(*seeds: int) -> bytes:
    frames = [scene(seed, 120, 90) for seed in seeds]
    return encode(frames[0], "WEBP", 90, save_all=True, append_images=frames[1:], duration=100)


def test_animations_with_one_first_frame_are_told_apart_by_the_others() -> None:
    assert held(animation(1, 2, 3), animation(1, 2, 3)).is_copy()
    assert not held(animation(1, 2, 3), animation(1, 4, 5)).is_copy()
    assert not held(animation(1, 2, 3), animation(1, 2)).is_copy()
    assert not held(animation(1, 2, 3), encode(scene(1, 120, 90), "WEBP", 90)).is_copy()


def test_a_plain_picture_is_one_colour_throughout() -> None:
    assert look_at_plain(encode(Image.new("RGB", (90, 60), "teal"), "PNG")) == Plain((0, 128, 128), True)
    assert look_at_plain(encode(bands("#204060", "#304060", "#404060"), "PNG")) is None
    assert look_at_plain(encode(Image.new("RGBA", (90, 60), (255, 255, 255, 0)), "PNG")) is None


def plain(colour: tuple[int, int, int], file_format: str, quality: int = 75) -> Plain:
    seen = look_at_plain(encode(Image.new("RGB", (90, 60), colour), file_format, quality))
    assert seen is not None
    return seen


def test_swatches_of_colours_that_are_next_to_each_other_are_two_pictures() -> None:
    """Where every pixel is kept; what is saved with loss rounds its colour."""
    assert plain((200, 100, 50), "PNG").is_copy_of(plain((200, 100, 50), "BMP"))
    assert not plain((200, 100, 50), "PNG").is_copy_of(plain((201, 100, 50), "PNG"))
    assert not plain((0, 0, 0), "PNG").is_copy_of(plain((3, 3, 3), "PNG"))
    for quality in (75, 90):
        assert plain((200, 100, 50), "PNG").is_copy_of(plain((200, 100, 50), "JPEG", quality))
    assert not plain((200, 100, 50), "PNG").is_copy_of(plain((204, 104, 54), "JPEG"))


@pytest.mark.parametrize("size", [(96, 72), (300, 300), (800, 600)])
@pytest.mark.parametrize("spread", [1.0, 8.0, 20.0, 50.0])
def test_what_has_nothing_in_it_is_no_copy(size: tuple[int, int], spread: float) -> None:
    """Walls with the noise of a sensor, and fields of noise: they differ nowhere, and are two pictures."""
    rng = np.random.default_rng(int(spread) + size[0])
    slope = 6 * np.linspace(-1, 1, size[0])
    one, other = (
        encode(
            Image.fromarray(np.clip(125 + slope + rng.normal(0, spread, size[::-1]), 0, 255).astype(np.uint8)), "PNG"
        )
        for _ in range(2)
    )
    assert held(one, encode(Image.open(BytesIO(one)), "BMP")).is_copy(), "the same pixels in another file"
    assert not held(one, other).is_copy()


def test_noise_saved_anew_is_a_copy() -> None:
    noise = np.random.default_rng(0).normal(128, 30, (300, 300))
    field = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
    assert held(encode(field, "PNG"), encode(field, quality=50)).is_copy()


def test_a_picture_out_of_focus_saved_anew_is_a_copy() -> None:
    """It has no fine detail, and is told by the coarse."""
    soft = scene(3, 640, 480).filter(ImageFilter.GaussianBlur(25))
    assert held(encode(soft, "PNG"), encode(soft, quality=25)).is_copy()
    assert not held(encode(soft, "PNG"), encode(scene(4, 640, 480).filter(ImageFilter.GaussianBlur(25)))).is_copy()
