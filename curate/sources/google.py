"""Google Images, through the package google-images-download and a Chrome or Chromium that it drives.

Its traps: it splits its keywords on commas; it calls `sys.exit()` (code 0) where the browser does not start; it
prints as it goes; it downloads in its own way and reports success after a failed write. So it runs in a process of
its own, asked for addresses alone, in a folder that is thrown away; what it found is read from the JSON log that it
writes there, and no log means that it failed. It knows neither licence nor author.
Source: the package google-images-download.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

from curate.extras import require_extra
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions
from curate.sources.protocol.picture_urls import provenance_group
from curate.sources.protocol.records import read_records
from curate.web.answers import JsonValue, SourceFailed
from curate.web.api import Api
from curate.web.strange_json import read_json

MOST = 100
"""Results of one search, as many as one page of Google shows without more scrolling than the package does."""
BROWSER_SECONDS = 180.0
"""Seconds for one search; the package alone scrolls for some twenty."""
_FIRST_WORDS = 300


class Search:
    """One page of results per query."""

    home: ClassVar[str] = ""
    turn: ClassVar[int | None] = None
    tells_licenses: ClassVar[bool] = False
    required_keys: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[str] = ""
    warning: ClassVar[str] = (
        "google: the licences of its pictures are unknown, Google's terms of service speak against automated queries, "
        "and the package google-images-download disguises the browser it drives. Look each picture's page up before "
        "you publish anything made from it."
    )

    def __init__(self, api: Api, options: SourceOptions) -> None:  # noqa: ARG002
        require_extra("google_images_download", "The source 'google' needs", "google-images-download", "google")
        self._api = api

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """There is one page only."""
        with tempfile.TemporaryDirectory(prefix="florilegium-google-", ignore_cleanup_errors=True) as scratch:
            results = await _search(query.text.replace(",", " "), Path(scratch))
        answers = (JsonValue("google", result, f"result {n}") for n, result in enumerate(results))
        found, odd = read_records(answers, lambda answer: [_candidate(answer)])
        return CandidatePage(found, odd=odd)


async def _search(words: str, scratch: Path) -> list[object]:
    """Run the package in a process of its own, and in a process group that ends with it, browser and all."""
    chromedriver = shutil.which("chromedriver")
    if chromedriver is None:
        reason = "it needs Chrome or Chromium and its chromedriver, and there is no chromedriver on this machine"
        raise SourceFailed("google", reason)
    root = Path(__file__).resolve().parents[__name__.count(".")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, words, chromedriver),
        cwd=scratch,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(BROWSER_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        raise SourceFailed("google", f"the browser was not done in {BROWSER_SECONDS:.0f} seconds") from None
    finally:
        _end(process)
    logs = list((scratch / "logs").glob("*.json"))
    if process.returncode != 0 or len(logs) != 1:
        said = " ".join(output.decode("utf-8", "replace").split())[-_FIRST_WORDS:]
        raise SourceFailed("google", f"google-images-download failed: {said or 'it said nothing'}")
    try:
        results = JsonValue("google", {"results": read_json(logs[0].read_bytes())})
    except (OSError, ValueError) as error:
        raise SourceFailed("google", f"what google-images-download has written cannot be read ({error})") from error
    return [result.value for result in results.items("results")]


def _end(process: asyncio.subprocess.Process) -> None:
    """Leave no browser behind, however the search ended."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        pass


def _candidate(result: JsonValue) -> Candidate:
    landing_page = result.optional_text("image_source")
    return Candidate(
        url=result.text("image_link"),
        source_id=result.text("image_link"),
        landing_page=landing_page,
        title=result.optional_text("image_description"),
        width=_size(result, "image_width"),
        height=_size(result, "image_height"),
        provenance_group=provenance_group(landing_page),
    )


def _size(result: JsonValue, key: str) -> int | None:
    """The package writes "" for a side that it does not know."""
    return result.number(key) if result.optional_text(key) else None


def main() -> None:
    """The process of its own: words and chromedriver in, logs/<words>.json out."""
    from google_images_download.google_images_download import googleimagesdownload

    words, chromedriver = sys.argv[1:]
    googleimagesdownload().download(
        {
            "keywords": words,
            "limit": MOST,
            "image_directory": "pictures",
            "no_download": True,
            "extract_metadata": True,
            "safe_search": True,
            "chromedriver": chromedriver,
        }
    )


if __name__ == "__main__":
    main()
