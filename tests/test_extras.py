"""What needs an extra that is not installed says so in one sentence, before it has done anything."""

import asyncio
import sys
from pathlib import Path

import pytest

from curate.errors import UserError
from curate.sources import auto_order, open_source
from curate.sources.protocol.image_search import SourceOptions
from curate.split import split
from curate.web.fetch import Fetcher
from curate.web.network import Network
from tests.commanding import command
from tests.pictures import draw, tree


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("duckduckgo", "ddgs", "ddgs"), ("google", "google_images_download", "google-images-download")],
)
def test_a_source_without_its_package_is_not_opened(
    name: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def opened() -> None:
        async with Fetcher(Network()) as fetcher:
            open_source(name, fetcher, SourceOptions(None))

    asyncio.run(opened())
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"'{name}' needs the package {package}, .* `uv sync --extra {name}`"):
        asyncio.run(opened())
    assert name not in auto_order({})


def test_scraping_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ddgs", None)
    ended = command("scrape", "--out", tmp_path / "out", "--source", "duckduckgo", "--license", "any")
    assert "needs the package ddgs, which is not installed" in ended.sentence
    assert not list((tmp_path / "out").glob("raw/*/*"))


def test_a_split_without_split_folders_says_so_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in "ab":
        for number in range(3):
            file = tmp_path / "raw" / label / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(draw(number))
    before = tree(tmp_path)
    monkeypatch.setitem(sys.modules, "splitfolders", None)
    with pytest.raises(UserError, match=r"needs the package split-folders, .* `uv sync --extra split-folders`"):
        split(tmp_path, method="split-folders")
    assert tree(tmp_path) == before
