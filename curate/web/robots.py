"""robots.txt as RFC 9309 reads it, and X-Robots-Tag: whether a host wants its pictures taken."""

import asyncio
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import httpx2

from curate.printable import printable
from curate.web.addresses import checked_url
from curate.web.hosts import Hosts
from curate.web.network import Client, Response
from curate.web.packed import unpacked
from curate.web.retries import FetchFailed, retry_after, transport_failure

AGENT = "florilegium"
LARGEST_FILE = 500 * 1024  # RFC 9309 § 2.5: at least so much must be read
REDIRECTS = 5
READS = 5
"""So often a robots.txt that cannot be read is asked for in a run."""
AGAIN = 1.0
"""Seconds from the first read that failed to the next, so that the tries of one picture outlast a hiccup; each further
one waits four times as long, the last for more than a minute."""
LONGEST_DELAY = 30.0
"""Seconds: of a Crawl-delay that is longer, a class of a hundred pictures would take hours."""
_SECONDS = re.compile(r"\d{1,6}(?:\.\d{1,6})?")
_RULES = ("allow", "disallow")
_END_OF_LINE = re.compile(r"\r\n?|\n")  # § 2.2; str.splitlines knows more
_UNWANTED = frozenset({"noai", "noimageai", "noindex", "none"})


@dataclass(frozen=True)
class Rule:
    """One Allow or Disallow line that applies to us."""

    allow: bool
    pattern: str

    def matches(self, target: str) -> bool:
        """Whether path and query fall under the pattern: a prefix, with `*` and a closing `$`.

        Piece by piece from the left, which decides any pattern of `*` in linear time; a regular expression
        would let a hostile file take unbounded time.
        """
        first, *others = self.pattern.removesuffix("$").split("*")
        if not target.startswith(first):
            return False
        position = len(first)
        for piece in others:
            found = target.find(piece, position)
            if found < 0:
                return False
            position = found + len(piece)
        if not self.pattern.endswith("$"):
            return True
        last = others[-1] if others else ""
        return position == len(target) or (bool(others) and target.endswith(last))


def decode_robots(content: bytes) -> str:
    """The text of a robots.txt: UTF-8 as it should be, or UTF-16 or UTF-32, each with or without a byte order mark."""
    return content.decode(json.detect_encoding(content), "replace").lstrip("\ufeff")


def parse_robots(text: str, agent: str = AGENT) -> tuple[Rule, ...]:
    """The rules for `agent`: those of every group that names it, else those of the groups for `*`."""
    rules: dict[str, list[Rule]] = {}
    for agents, key, value in _records(text, agent):
        for name in agents:
            of_agent = rules.setdefault(name, [])
            if key in _RULES and value:
                of_agent.append(Rule(key == "allow", unquote(value)))
    return tuple(rules.get(agent, rules.get("*", ())))


def crawl_delay(text: str, agent: str = AGENT) -> float:
    """Seconds between two requests that the groups for `agent` ask for, else those for `*`; 0 where none does.

    Not of RFC 9309, and common all the same. The longest counts, up to `LONGEST_DELAY`.
    """
    delays: dict[str, float] = {}
    for agents, key, value in _records(text, agent):
        asked = float(value) if key == "crawl-delay" and _SECONDS.fullmatch(value) else 0.0
        delays |= {name: min(max(delays.get(name, 0.0), asked), LONGEST_DELAY) for name in agents}
    return delays.get(agent, delays.get("*", 0.0))


def _records(text: str, agent: str) -> Iterator[tuple[frozenset[str], str, str]]:
    """(those of `agent` and `*` that its group names, key, value) of each line; a group ends behind its rules.

    Names and keys are in small letters. A file may name thousands of other agents before thousands of rules.
    """
    ours = frozenset((agent, "*"))
    agents: frozenset[str] = frozenset()
    in_rules = False
    for line in _END_OF_LINE.split(text.removeprefix("\ufeff")):
        key, _, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if key == "user-agent":
            # A name is a product's alone (RFC 9309, 2.2.1); who writes a version behind it means the product too
            named = ours & {value.lower().partition("/")[0].strip()}
            agents = named if in_rules else agents | named
        in_rules = key in _RULES or (in_rules and key != "user-agent")
        yield agents, key, value


def allows(rules: Iterable[Rule], url: str) -> bool:
    """The longest matching rule decides, Allow wins a tie, and what no rule covers is allowed."""
    parts = urlsplit(url)
    target = unquote(parts.path or "/") + (f"?{unquote(parts.query)}" if parts.query else "")
    matching = [rule for rule in rules if rule.matches(target)]
    if not matching:
        return True
    return max(matching, key=lambda rule: (len(rule.pattern), rule.allow)).allow


def unwanted_by_tag(values: Iterable[str], agent: str = AGENT) -> str | None:
    """The directive of these X-Robots-Tag headers that asks us to leave the picture alone, or None.

    A header may be meant for one robot alone (`googlebot: noindex`); then it is not for us.
    """
    for value in values:
        scope = ""
        for item in value.lower().split(","):
            name, colon, rest = item.partition(":")
            if colon and name.strip() not in ("unavailable_after", "max-snippet", "max-image-preview"):
                scope = name.strip()
            directive = (rest if scope and colon else item).strip()
            if directive in _UNWANTED and scope in ("", agent):
                return directive
    return None


_Origin = tuple[str, str, int | None]
"""Scheme, host and port."""


@dataclass
class _Read:
    """The latest of `reads` reads of one robots.txt."""

    rules: asyncio.Future[tuple[Rule, ...]]
    reads: int

    def __post_init__(self) -> None:
        self._ended = 0.0
        self.rules.add_done_callback(self._end)

    def _end(self, rules: asyncio.Future[tuple[Rule, ...]]) -> None:
        self._ended = asyncio.get_running_loop().time()
        if not rules.cancelled():
            rules.exception()  # or asyncio reports it, where all who waited for it have been called off

    def is_to_be_made_again(self) -> bool:
        """Whether it failed, long enough ago."""
        if not self.rules.done() or self.reads >= READS:
            return False
        failed = None if self.rules.cancelled() else self.rules.exception()
        if failed is None and not self.rules.cancelled():
            return False
        asked_for = failed.retry_after if isinstance(failed, FetchFailed) else None
        wait = max(AGAIN * 4.0 ** (self.reads - 1), asked_for or 0.0)
        waited: float = asyncio.get_running_loop().time() - self._ended
        return waited >= wait


class Robots:
    """Each host's robots.txt, asked for once a run.

    One that could not be read is asked for again by whoever comes later, at growing distances and `READS` times in all.
    Until it was read, nothing of that host is fetched.
    """

    def __init__(self, client: Client, hosts: Hosts, whole: float) -> None:
        self._client = client
        self._hosts = hosts
        self._whole = whole
        self._read_of: dict[_Origin, _Read] = {}

    async def check(self, url: httpx2.URL) -> None:
        """Raise FetchFailed where robots.txt forbids this URL, or cannot be read (RFC 9309 § 2.3.1.4)."""
        origin = (url.scheme, url.host, url.port)
        known = self._read_of.get(origin)
        if known is None or known.is_to_be_made_again():
            file = url.copy_with(raw_path=b"/robots.txt", fragment=None)
            reads = known.reads + 1 if known is not None else 1
            known = self._read_of[origin] = _Read(asyncio.ensure_future(self._read(file)), reads)
        rules = await asyncio.shield(known.rules)
        if rules and not allows(rules, str(url)):
            raise FetchFailed("robots.txt", f"robots.txt of {url.host} forbids it")

    async def _read(self, url: httpx2.URL) -> tuple[Rule, ...]:
        origin = url
        for _ in range(REDIRECTS + 1):
            try:
                async with (
                    self._hosts.turn(url.host),
                    asyncio.timeout(self._whole),
                    self._client.stream(url) as response,
                ):
                    if not response.has_redirect_location:
                        text = await _text_of(response)
                        self._hosts.slow_down(origin.host, crawl_delay(text))
                        return parse_robots(text)
                    url = checked_url(url.join(response.headers["Location"]))
            except (httpx2.TransportError, TimeoutError) as error:
                raise transport_failure(error, url.host) from error
            except httpx2.InvalidURL as error:
                reason = f"robots.txt of {url.host} redirects to no URL: {error}"
                raise FetchFailed("robots.txt", reason, passing=True) from error
        return ()  # § 2.3.1.2: more redirects than one need follow count as no robots.txt


async def _text_of(response: Response) -> str:
    """The file; "" where there is none, which forbids nothing. Raises FetchFailed where the server is in trouble."""
    if response.status_code == 429 or response.status_code >= 500:
        reason = f"robots.txt of {response.asked.host} answered {response.status_code}"
        raise FetchFailed("robots.txt", reason, passing=True, retry_after=retry_after(response))
    if response.status_code != 200:
        return ""
    packed = response.headers.get("Content-Encoding", "").strip().lower()
    if packed not in ("", "identity", "gzip"):
        raise _unreadable(response, f"came packed by {packed}")
    try:  # packed though it was not asked for; the rules behind the limit do not count (§ 2.5)
        content, end = await unpacked(response, by_gzip=packed == "gzip", most=LARGEST_FILE)
    except zlib.error as error:
        raise _unreadable(response, f"is no gzip ({error})") from error
    if end == "cut off":
        raise _unreadable(response, "is cut off")
    return decode_robots(content)


def _unreadable(response: Response, why: str) -> FetchFailed:
    return FetchFailed("robots.txt", f"robots.txt of {response.asked.host} {printable(why)}", passing=True)
