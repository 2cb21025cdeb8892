"""No file gets its name before its bytes are on the disk, whoever writes it: seen from outside, by the system calls."""

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.pictures import plant

REPOSITORY = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace shows the system calls")

CALLS = "trace=openat,fsync,fdatasync,sync,syncfs,rename,renameat,renameat2,link,linkat"
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
        from curate.scraping.incoming import Incoming
        incoming = Incoming(here / "work")
        incoming.open()
        incoming.copy(next((here / "data").rglob("*.jpg")), "1", 1 << 20)
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
    """(name, paths) of each system call that ended well, in their order."""
    log = here / "calls"
    script = textwrap.dedent(START) + textwrap.dedent(code)
    traced = ["strace", "-f", "-y", "-s", "4096", "-e", CALLS, "-o", str(log), sys.executable, "-c", script, str(here)]
    done = subprocess.run(traced, cwd=REPOSITORY, capture_output=True, text=True)
    if "ptrace" in done.stderr:
        pytest.skip("this system lets nobody trace")
    assert done.returncode == 0, done.stderr
    lines = log.read_text("utf-8", "replace").splitlines()
    ended_well = [call for line in lines if (call := CALL.match(line))]
    return [(call[1], [named or opened for named, opened in PATH.findall(call[2])]) for call in ended_well]


CALL = re.compile(r"\d+ +(\w+)\((.*)\) += 0")
PATH = re.compile(r'"([^"]*)"|\d<([^>]*)>')


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("brought") / "data"
    plant(folder / "raw", {"rose": 4, "iris": 4})
    return folder


@pytest.mark.parametrize("writer", WRITERS)
def test_the_bytes_are_on_the_disk_before_they_have_the_name(writer: str, data: Path, tmp_path: Path) -> None:
    ending, code = WRITERS[writer]
    shutil.copytree(data, tmp_path / "data")
    made = calls(code, tmp_path)
    named = [(at, paths) for at, (call, paths) in enumerate(made) if "rename" in call and paths[-1].endswith(ending)]
    assert named, f"nothing was renamed to {ending}"
    for at, (whole, file) in named:
        assert ("fsync", [whole]) in made[:at], f"{whole} was renamed before it was on the disk"
        if "picture" not in writer:  # of a picture nobody knows yet the name may go, as long as its bytes go with it
            assert ("fsync", [str(Path(file).parent)]) in made[at:]


@pytest.mark.parametrize("form", ["imagefolder", "webdataset"])
def test_an_export_is_on_the_disk_before_it_is_there(form: str, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    made = calls(f'from curate.export import export; export(here / "data", here / "out", format="{form}")', tmp_path)
    at = next(at for at, (call, paths) in enumerate(made) if "rename" in call and paths[-1] == str(tmp_path / "out"))
    assert "sync" in [call for call, _ in made[:at]]
    assert ("fsync", [str(tmp_path)]) in made[at:]
