"""What may be shown of a stranger's text: one line, no escapes, no tricks with direction, every script as it is."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.printable import printable

HARMFUL = [
    *map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    "\u2028",
    "\u2029",
    "\ud800",
    "\udcff",
]

ORDINARY = [
    "",
    "fire lily",
    "Türkenbund",
    "火百合",
    "زنبق\u200cالنار",
    "שושן צחור",
    "अग्नि लिली क्\u200dष",
    "🌷👩\u200d🌾",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # the flag of England
    "C:\\flowers\\x1b",
    "e\u0301",
    "\u00ad",
]


@pytest.mark.parametrize("sign", HARMFUL, ids=ascii)
def test_what_could_harm_is_spelt_out(sign: str) -> None:
    shown = printable(f"a{sign}b")
    assert shown == (f"a\\x{ord(sign):02x}b" if ord(sign) < 0x100 else f"a\\u{ord(sign):04x}b")


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert printable(text) == text


@given(st.text(st.characters(codec=None)))
def test_whatever_comes_it_is_one_line_of_text(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(sign) in ("Cc", "Cs") for sign in shown)
    assert printable(shown) == shown
