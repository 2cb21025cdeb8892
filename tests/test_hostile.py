"""The hostile server: whatever it does, the fetcher ends soon, keeps nothing, and says what it met."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.peak import forget_peak_rss, peak_rss
from curate.inspect import inspect
from curate.web.fetch import Fetched, Fetcher
from curate.web.network import Network, Timeouts
from curate.web.retries import FetchFailed
from testing.hostile import FAULTS, bomb
from testing.localweb import LocalWeb
from tests.pictures import plant

IMPATIENT = Timeouts(connect=1, read=1.2, whole=2.2)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWeb]:
    with LocalWeb(plant(tmp_path_factory.mktemp("garden"), {"rose": 2})) as server:
        yield server


def fetch(network: Network, url: str, folder: Path, *, attempts: int = 1) -> Fetched:
    async def work() -> Fetched:
        async with Fetcher(network) as fetcher:
            return await fetcher.fetch(url, folder, "7", attempts=attempts)

    return asyncio.run(work())


# fault → (kind of failure, words of its reason, whether a later attempt may fare better)
REFUSED = {
    "endless": ("too large", "larger than 1 MiB", False),
    "slow": ("too slow", "took too long as a whole", True),
    "silent": ("too slow", "fell silent", True),
    "too-short": ("cut off", "broke off", True),
    "huge-length": ("too large", "larger than 1 MiB", False),
    "empty": ("not a picture", "0 bytes", False),
    "portal": ("not a picture", "sent a web page and no picture and calls it text/html", False),
    "words": ("not a picture", "sent no picture and calls it text/html", False),
    "html": ("not a picture", "no picture though it says image/jpeg", False),
    "compressed": ("not a picture", "compressed", False),
    "noai": ("x-robots-tag", "noai", False),
    "forbidden": ("http 403", "403", False),
    "gone": ("http 404", "404", False),
    "down": ("server error", "503", True),
    "loop": ("redirects", "lead back to", False),
    "ping": ("redirects", "lead back to", False),
    "maze": ("redirects", "more than 5", False),
    "to-loopback": ("refused address", "127.0.0.1, a loopback address", False),
    "to-localhost": ("refused address", "loopback address", False),
    "to-metadata": ("refused address", "169.254.169.254, a link-local address", False),
    "to-ipv6": ("refused address", "::1, a loopback address", False),
    "to-mapped": ("refused address", "loopback address", False),
    "to-private": ("refused address", "192.168.0.1, which is no public address", False),
    "to-decimal": ("refused address", "127.0.0.1 in disguise", False),
    "to-octal": ("refused address", "redirects to no URL", False),
    "to-hex": ("refused address", "127.0.0.1 in disguise", False),
    "to-file": ("refused address", "the scheme 'file:'", False),
    "to-gopher": ("refused address", "the scheme 'gopher:'", False),
    "to-nowhere": ("refused address", "redirects to no URL", False),
}
# What comes down whole and shows its fault only when it is looked at.
FETCHED = {
    "half": "cut off",
    "too-long": "cut off",
    "bomb": "its header claims more than 134,217,728 pixels",
}


CALLED_OTHERWISE = {"undeclared", "wrong-type", "text", "no-type"}
"""A picture's bytes under a header that says of them nothing, or something else."""


def test_every_fault_is_tested() -> None:
    assert set(REFUSED) | set(FETCHED) | CALLED_OTHERWISE | {"pong"} == {
        name for name in FAULTS if not (name.startswith("maze") and name != "maze")
    }


@pytest.mark.thorough
@pytest.mark.parametrize("fault", REFUSED)
def test_refuses(fault: str, web: LocalWeb, tmp_path: Path) -> None:
    kind, words, passing = REFUSED[fault]
    network = web.network(timeouts=IMPATIENT, largest_picture=2**20)
    begun = time.monotonic()
    with pytest.raises(FetchFailed) as caught:
        fetch(network, f"{web.url}/hostile/{fault}", tmp_path)
    assert time.monotonic() - begun < 4
    assert caught.value.kind == kind
    assert words in caught.value.reason
    assert caught.value.passing is passing
    assert list(tmp_path.iterdir()) == [], "nothing of it stays"


@pytest.mark.parametrize("fault", FETCHED)
def test_finds_out_by_decoding(fault: str, web: LocalWeb, tmp_path: Path) -> None:
    fetched = fetch(web.network(), f"{web.url}/hostile/{fault}", tmp_path)
    before = forget_peak_rss()
    facts = inspect(fetched.path.read_bytes())
    assert FETCHED[fault] in facts.broken
    assert peak_rss() - before < 200 << 20, "no pixel was allocated"


def test_the_bomb_is_one() -> None:
    data = bomb()
    assert 90_000 < len(data) < 110_000
    assert data[16:24] == (60_000).to_bytes(4, "big") * 2


@pytest.mark.parametrize("fault", sorted(CALLED_OTHERWISE))
def test_a_picture_is_known_by_its_bytes_whatever_it_is_called(fault: str, web: LocalWeb, tmp_path: Path) -> None:
    fetched = fetch(web.network(), f"{web.url}/hostile/{fault}", tmp_path)
    assert fetched.extension == "jpg"
    assert fetched.path.read_bytes() == web.pictures[0].path.read_bytes()


@pytest.mark.parametrize(
    "url",
    [
        "{web}/../../../etc/passwd",
        "http://a b/x.jpg",
        "http://[half an address/",
        "{web}/openverse/pictures/0/../../../../../escaped.jpg",
        "{web}/openverse/pictures/0/..%2f..%2f..%2fescaped.jpg",
        "{web}/openverse/pictures/0/%2e%2e/escaped.jpg",
        "{web}/openverse/pictures/0/C:\\Windows\\escaped.jpg",
        "{web}/openverse/pictures/0/con.jpg",
        "{web}/openverse/pictures/0/" + "n" * 3000 + ".jpg",
        "{web}/openverse/pictures/0/a\0b.jpg",
        "{web}/openverse/pictures/0/a%00b.jpg",
        "{web}/openverse/pictures/0/a\r\nb.jpg",
        "file:///etc/passwd",
        "",
    ],
)
def test_no_name_of_a_url_reaches_the_disk(url: str, web: LocalWeb, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "in"
    folder.mkdir(parents=True)
    try:
        fetched = fetch(web.network(), url.format(web=web.url), folder)
    except FetchFailed:
        assert list(folder.iterdir()) == []
    else:
        assert list(folder.iterdir()) == [fetched.path]
        assert fetched.path.name == f"7.{fetched.sha256}.jpg"
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder] == []


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:9/", "http://169.254.169.254/", "http://[::1]:9/", "http://2130706433/", "http://0177.0.0.1/"],
)
def test_the_same_addresses_are_refused_outright(location: str, tmp_path: Path) -> None:
    with pytest.raises(FetchFailed) as caught:
        fetch(Network(obey_robots=False), location, tmp_path)
    assert (caught.value.kind, caught.value.passing) == ("refused address", False)


def test_a_robots_file_that_redirects_inside_is_refused(web: LocalWeb, tmp_path: Path) -> None:
    """The way to robots.txt is checked hop by hop as well."""
    web.faults.robots_redirect = "http://169.254.169.254/robots.txt"
    try:
        with pytest.raises(FetchFailed, match="link-local"):
            fetch(web.network(), f"{web.url}/openverse/pictures/0/x.jpg", tmp_path)
    finally:
        web.faults.robots_redirect = None


def test_a_robots_file_that_begins_with_a_byte_order_mark_is_obeyed(web: LocalWeb, tmp_path: Path) -> None:
    web.faults.robots = "\ufeffUser-agent: *\nDisallow: /"
    try:
        with pytest.raises(FetchFailed, match="forbids it"):
            fetch(web.network(), f"{web.url}/openverse/pictures/0/x.jpg", tmp_path)
    finally:
        web.faults.robots = None
