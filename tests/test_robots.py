"""robots.txt as RFC 9309 reads it, and X-Robots-Tag."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.web.robots import LONGEST_DELAY, allows, crawl_delay, decode_robots, parse_robots, unwanted_by_tag


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("", "/a.jpg", True),
        ("User-agent: *\nDisallow: /", "/a.jpg", False),
        ("User-agent: *\nDisallow:", "/a.jpg", True),
        ("User-agent: Florilegium/9\nDisallow: /", "/a.jpg", False),
        ("user-AGENT : *\ndisallow : /private # not these\n", "/private/a.jpg", False),
        ("User-agent: *\nDisallow: /private\nAllow: /private/open", "/private/open/a.jpg", True),
        ("User-agent: *\nAllow: /private/open\nDisallow: /private", "/private/shut/a.jpg", False),
        ("User-agent: *\nDisallow: /a\nAllow: /a", "/a.jpg", True),
        ("User-agent: *\nDisallow: /\nUser-agent: florilegium\nDisallow: /x", "/a.jpg", True),
        ("User-agent: *\nDisallow:\nUser-agent: Florilegium\nDisallow: /", "/a.jpg", False),
        ("User-agent: florilegium\nDisallow:\nUser-agent: *\nDisallow: /", "/a.jpg", True),
        ("User-agent: other\nUser-agent: florilegium\nDisallow: /", "/a.jpg", False),
        ("User-agent: florilegium\nDisallow: /a\nUser-agent: florilegium\nDisallow: /b", "/b.jpg", False),
        ("User-agent: other\nDisallow: /", "/a.jpg", True),
        ("User-agent: *\nDisallow: /*.jpg$", "/a/b.jpg", False),
        ("User-agent: *\nDisallow: /*.jpg$", "/a/b.jpg?size=1", True),
        ("User-agent: *\nDisallow: /*.jpg", "/a/b.jpg?size=1", False),
        ("User-agent: *\nDisallow: /a*b*c$", "/a.b.c.b.c", False),
        ("User-agent: *\nDisallow: /a*$", "/abc", False),
        ("User-agent: *\nDisallow: /exact$", "/exact", False),
        ("User-agent: *\nDisallow: /exact$", "/exactly", True),
        ("User-agent: *\nDisallow: /with%20space", "/with%20space/a.jpg", False),
        ("Sitemap: https://x/\nDisallow: /\n", "/a.jpg", True),
        ("<html>\nnot: robots\n</html>", "/a.jpg", True),
    ],
)
def test_decides(text: str, path: str, expected: bool) -> None:
    assert allows(parse_robots(text), f"https://example.org{path}") is expected


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    allows(parse_robots(text), "https://example.org/a.jpg")


def test_agents_and_rules_by_the_thousand_do_not_multiply() -> None:
    """As many of both as the largest file holds; each rule for each agent would take half an hour, and the memory."""
    text = "".join(f"User-agent: {number}\n" for number in range(2_000)) + "Crawl-delay: 3\nDisallow: /a\n" * 2_000
    begun = time.monotonic()
    assert parse_robots(text) == ()
    assert crawl_delay(text) == 0
    assert len(parse_robots(text, "7")) == 2_000
    assert crawl_delay(text, "7") == 3
    assert time.monotonic() - begun < 1


def test_a_pattern_made_to_stall_does_not() -> None:
    rules = parse_robots("User-agent: *\nDisallow: /" + "*a" * 5000 + "$")
    begun = time.monotonic()
    allows(rules, "https://example.org/" + "a" * 4000 + "b")
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["all"], None),
        (["noarchive, max-image-preview: large"], None),
        (["noai"], "noai"),
        (["NoImageAI"], "noimageai"),
        (["noarchive", "noindex, nofollow"], "noindex"),
        (["none"], "none"),
        (["googlebot: noindex"], None),
        (["googlebot: noarchive, noai"], None),
        (["florilegium: noai"], "noai"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noai"], "noai"),
    ],
)
def test_reads_the_tag(values: list[str], expected: str | None) -> None:
    assert unwanted_by_tag(values) == expected


FORBIDS = "User-agent: *\r\nDisallow: /private\r\n"
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_of_the_first_line_is_read(encoding: str, end: str) -> None:
    content = FORBIDS.replace("\r\n", end).encode(encoding)
    assert not allows(parse_robots(decode_robots(content)), "https://example.org/private/a.jpg")
    assert allows(parse_robots(decode_robots(content)), "https://example.org/a.jpg")


@given(st.binary())
def test_any_bytes_can_be_read(content: bytes) -> None:
    allows(parse_robots(decode_robots(content)), "https://example.org/a.jpg")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0.0),
        ("User-agent: *\nCrawl-delay: 2\nDisallow: /x", 2.0),
        ("User-agent: *\nCrawl-delay: 0.5", 0.5),
        ("User-agent: *\nCrawl-delay: 9\nUser-agent: florilegium\nCrawl-delay: 1", 1.0),
        ("User-agent: florilegium\nDisallow: /x\nUser-agent: *\nCrawl-delay: 9", 0.0),
        ("User-agent: other\nCrawl-delay: 9", 0.0),
        ("User-agent: *\nCrawl-delay: 86400", LONGEST_DELAY),
        ("User-agent: *\nCrawl-delay: soon", 0.0),
        ("User-agent: *\nCrawl-delay: nan", 0.0),
        ("User-agent: *\nCrawl-delay: -3", 0.0),
        ("Crawl-delay: 3\nUser-agent: *\nDisallow: /", 0.0),
    ],
)
def test_reads_how_long_to_wait_between_two_requests(text: str, expected: float) -> None:
    assert crawl_delay(text) == expected
