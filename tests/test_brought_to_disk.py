"""No file gets its name before its bytes are on the disk, whoever writes it: seen from outside, by the system calls."""

import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pictures import plant

REPOSITORY = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace shows the system calls")

CALLS = "trace=openat,close,fsync,fdatasync,sync,syncfs,rename,renameat,renameat2,link,linkat"
RENAMES = ("rename", "renameat", "renameat2")
START = """
    import sys
    from pathlib import Path
    here = Path(sys.argv[1])
"""
WRITERS = {
    "plan": (
        "plan.jsonl",
        """
        from curate.clean import clean
        clean(here / "data", dry_run=True)
        """,
    ),
    "credits": (
        "CREDITS.md",
        """
        from curate.catalog import Catalog
        from curate.credits import write_credits
        from curate.dataset import open_dataset
        dataset = open_dataset(here / "data")
        with Catalog.open(dataset.catalog_path) as catalog:
            write_credits(dataset, catalog, {})
        """,
    ),
    "mark of a split": (
        ".florilegium.split",
        """
        from curate.split import split
        split(here / "data")
        """,
    ),
    "contact sheet": (
        "sheet.png",
        """
        from curate.rendering import save_drawing
        from PIL import Image
        save_drawing(Image.new("RGB", (9, 9)), here / "sheet.png")
        """,
    ),
    "local picture that is scraped": (
        ".jpg",
        """
        import asyncio
        from curate.files.group_commit import GroupCommit
        from curate.scraping.incoming import Incoming
        incoming = Incoming(here / "work")
        incoming.open()
        file, commits = next((here / "data").rglob("*.jpg")), GroupCommit()
        asyncio.run(incoming.copy(file, "1", 1 << 20, commits))
        commits.close()
        """,
    ),
    "picture from the web": (
        ".jpg",
        """
        import asyncio
        from curate.web.fetch import Fetcher
        from testing.localweb import LocalWeb
        async def bring(web, url):
            async with Fetcher(web.network()) as fetcher:
                (here / "in").mkdir()
                await fetcher.fetch(url, here / "in", "1")
        with LocalWeb(here / "data" / "raw") as web:
            asyncio.run(bring(web, f"http://127.0.0.1:{web.port}/openverse/pictures/0/original.jpg"))
        """,
    ),
    "checkpoint": (
        ".pth",
        """
        from tests.training_ground import small_checkpoint
        from train.checkpoint import save_checkpoint
        save_checkpoint(small_checkpoint(), here / "models")
        """,
    ),
    "unfinished run": (
        ".pth",
        """
        from train.optimising.unfinished import UnfinishedRun
        run = UnfinishedRun(here, {"run": 1}, every=0)
        run.save({"epoch": 1})
        assert run.failed is None
        """,
    ),
    "model card": (
        "card.md",
        """
        from tests.training_ground import small_checkpoint
        from train.checkpoint import save_checkpoint
        from train.model_card import write_model_card
        write_model_card(save_checkpoint(small_checkpoint(), here / "models"), here / "card.md")
        """,
    ),
    "record of test": (
        ".opened.json",
        """
        from train.test_log import Opening, note_opening
        note_opening(here / "model_95.23.pth", Opening("0", "2026-01-01", 1, "0", 1))
        """,
    ),
}


def calls(code: str, here: Path) -> list[tuple[str, list[str]]]:
    """(name, paths) of each system call that ended well, in their order, and (name + " begun", paths) of each."""
    log = here / "calls"
    script = textwrap.dedent(START) + textwrap.dedent(code)
    traced = ["strace", "-f", "-y", "-s", "4096", "-e", CALLS, "-o", str(log), sys.executable, "-c", script, str(here)]
    done = subprocess.run(traced, cwd=REPOSITORY, capture_output=True, text=True)
    if "ptrace" in done.stderr:
        pytest.skip("this system lets nobody trace")
    assert done.returncode == 0, done.stderr
    ended_well = [call for line in ended(log.read_text("utf-8", "replace").splitlines()) if (call := CALL.match(line))]
    return [(call[1], [named or opened for named, opened in PATH.findall(call[2])]) for call in ended_well]


def ended(lines: list[str]) -> Iterator[str]:
    """Two lines for each of a log: where its call began, and where it ended. Calls of other threads may lie between."""
    begun: dict[str, str] = {}
    for line in lines:
        thread = line.split(" ")[0]
        if " resumed>" in line:
            yield begun.pop(thread) + line.partition(" resumed>")[2]
            continue
        began = line.removesuffix(" <unfinished ...>")
        yield began.partition(") = ")[0].replace("(", " begun(", 1) + ") = 0"
        if began != line:
            begun[thread] = began
        else:
            yield line


CALL = re.compile(r"\d+ +(\w+(?: begun)?)\((.*)\) += 0")
PATH = re.compile(r'"([^"]*)"|\d<([^>]*)>')


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("brought") / "data"
    plant(folder / "raw", {"rose": 4, "iris": 4})
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize("writer", WRITERS)
def test_the_bytes_are_on_the_disk_before_they_have_the_name(writer: str, data: Path, tmp_path: Path) -> None:
    ending, code = WRITERS[writer]
    shutil.copytree(data, tmp_path / "data")
    made = calls(code, tmp_path)
    named = [(at, paths) for at, (call, paths) in enumerate(made) if call in RENAMES and paths[-1].endswith(ending)]
    assert named, f"nothing was renamed to {ending}"
    for at, (whole, file) in named:
        assert ("fsync", [whole]) in made[:at], f"{whole} was renamed before it was on the disk"
        assert ("fsync", [str(Path(file).parent)]) in made[at:]


def test_pictures_that_come_together_are_on_the_disk_before_they_have_their_names(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    code = """
        import asyncio
        from curate.web.fetch import Fetcher
        from testing.localweb import LocalWeb
        async def bring(web):
            base = f"http://127.0.0.1:{web.port}/openverse/pictures"
            async with Fetcher(web.network()) as fetcher:
                (here / "in").mkdir()
                fetches = [fetcher.fetch(f"{base}/{n % 8}/original.jpg", here / "in", str(n)) for n in range(32)]
                await asyncio.gather(*fetches)
        with LocalWeb(here / "data" / "raw") as web:
            asyncio.run(bring(web))
        """
    made = calls(code, tmp_path)
    named = [(at, paths) for at, (call, paths) in enumerate(made) if call in RENAMES and paths[-1].endswith(".jpg")]
    assert len(named) == 32
    for at, (part, whole) in named:
        since = made[made.index(("close", [part])) : at]
        names = [call for call, paths in since if call.startswith("syncfs") or paths == [part]]
        began = next(at for at, name in enumerate(names) if name in ("syncfs begun", "fsync begun"))
        assert names[began].removesuffix(" begun") in names[began:], f"{part} was renamed before it was on the disk"
        assert ("fsync", [str(Path(whole).parent)]) in made[at:]
    groups = [call for call, paths in made if call == "fsync" and paths == [str(tmp_path / "in")]]
    assert len(groups) < 32, "each picture was brought to the disk by itself"


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["imagefolder", "webdataset"])
def test_an_export_is_on_the_disk_before_it_is_there(form: str, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    made = calls(f'from curate.export import export; export(here / "data", here / "out", format="{form}")', tmp_path)
    at = next(at for at, (call, paths) in enumerate(made) if call in RENAMES and paths[-1] == str(tmp_path / "out"))
    assert "sync" in [call for call, _ in made[:at]]
    assert ("fsync", [str(tmp_path)]) in made[at:]
