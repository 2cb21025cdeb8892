"""The notebook tells the whole story, runs from its first cell to its last, and is stored without output."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

REPOSITORY = Path(__file__).resolve().parent.parent
NOTEBOOK = REPOSITORY / "docs" / "flowers.ipynb"
SMALL = 'share = 0.25\nbackbone = "efficientnet_lite0"\nclasses = 2'


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: str | None = None) -> Any:
    """The notebook after a run in a kernel of its own, which writes below `tmp_path` alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    notebook = read()
    for cell in notebook.cells:
        if parameters and "parameters" in cell.metadata.get("tags", []):
            cell.source = parameters
    if sys.platform == "win32":
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    client = nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
    return client.execute()


def html_of(notebook: Any) -> list[str]:
    """What each cell draws, in order; "" where it draws nothing."""
    found = []
    for cell in notebook.cells:
        data = [output.get("data", {}) for output in cell.get("outputs", [])]
        found.append("".join(str(one.get("text/html", "")) for one in data))
    return found


def test_it_is_stored_without_output() -> None:
    notebook = read()
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 10
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert len([cell for cell in code if "parameters" in cell.metadata.get("tags", [])]) == 1


def test_it_uses_every_stage() -> None:
    source = "\n".join(cell.source for cell in read().cells)
    stages = ("open", "scrape", "clean", "carry_out", "restore", "split", "verify", "show", "train", "evaluate", "load",
              "predict")  # fmt: skip
    assert [stage for stage in stages if f".{stage}(" not in source] == []


@pytest.mark.thorough
def test_it_runs_on_a_small_garden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLORILEGIUM_FLOWERS", str(tmp_path / "nothing"))
    before = set(NOTEBOOK.parent.rglob("*"))
    drawn = "".join(html_of(executed(tmp_path, monkeypatch, SMALL)))
    assert "pictures would leave" in drawn
    assert "new pictures in" in drawn
    assert "near-duplicate pairs across splits: 0" in drawn
    assert "On test: " in drawn
    # Long work is watched in the cell, in one bar that has come to its end
    bars = re.findall(r'<progress max="(\d+)" value="(\d+)">', drawn)
    assert len(bars) > 5
    assert all(total == done for total, done in bars)
    assert "<img " in drawn
    assert set(NOTEBOOK.parent.rglob("*")) - before == set()


@pytest.mark.slow
def test_it_runs_whole_and_on_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flowers: Path) -> None:
    monkeypatch.setenv("FLORILEGIUM_FLOWERS", str(flowers))
    before = {file: file.stat().st_mtime_ns for file in flowers.rglob("*")}
    drawn = "".join(html_of(executed(tmp_path, monkeypatch)))
    assert "On valid: " in drawn
    assert "pink primrose" in drawn
    assert {file: file.stat().st_mtime_ns for file in flowers.rglob("*")} == before
