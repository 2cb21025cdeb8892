"""The package as others install it: everything inside one name, whatever lies beside it, and all that it needs."""

import ast
import json
import os
import shutil
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from curate.program import COMMAND, INSTALLED, __version__
from hatch_build import with_imports_inside
from tests.test_architecture import ORDER, REPOSITORY
from train.features.packaged_weights import PACKAGED

PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = [room for room in ORDER if room != "florilegium"]
HOSTILE = "raise SystemExit('a stranger was imported')\n"
PEERS = {"cleanlab", "faiss", "fastapi", "icrawler", "imagededup", "img2dataset", "sklearn"}
"""What benchmarks compare with, in environments of their own."""


def modules(room: str) -> list[Path]:
    folder = REPOSITORY / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [REPOSITORY / f"{room}.py"]


def run(*command: object, cwd: Path, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, as a user would who knows nothing of this checkout."""
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        [*map(str, command)], cwd=cwd, env={**clean, **environment, "COLUMNS": "200"}, capture_output=True, text=True,
        check=False, timeout=timeout,
    )  # fmt: skip


def stdout(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist of the checkout, and the wheel that was built from the sdist alone."""
    folder = tmp_path_factory.mktemp("built")
    hatchling = (sys.executable, "-m", "hatchling", "build")
    path = os.pathsep.join(sys.path)  # for a hatchling that lies elsewhere
    stdout(run(*hatchling, "-t", "sdist", "-d", folder, cwd=REPOSITORY, PYTHONPATH=path))
    (sdist,) = folder.glob("*.tar.gz")
    stdout(run(sys.executable, "-m", "tarfile", "-e", sdist, folder / "unpacked", cwd=folder))
    (source,) = (folder / "unpacked").iterdir()
    stdout(run(*hatchling, "-t", "wheel", "-d", folder, cwd=source, PYTHONPATH=path))
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installer makes of the wheel."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder of a user's with files of every room's name in it, none of which we may import."""
    desk = tmp_path / "desk"
    desk.mkdir()
    for room in (*ROOMS, "tests", "benchmarks"):
        (desk / f"{room}.py").write_text(HOSTILE)
    for room in ("curate", "commands"):
        (desk / room).mkdir()
        (desk / room / "__init__.py").write_text(HOSTILE)
    return desk


def python(code: str, desk: Path, site: Path) -> str:
    return stdout(run(sys.executable, "-c", textwrap.dedent(code), cwd=desk, PYTHONPATH=str(site)))


# The wheel


def test_the_wheel_has_one_package_and_every_file_of_the_rooms(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"florilegium-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"florilegium", info}
    expected = {f"florilegium/names/{name}" for name in ("cat_to_name.json", "cat_to_names.json")}
    for room in ORDER:
        place = "florilegium" if room == "florilegium" else f"florilegium/_{room}"
        folder = REPOSITORY / room
        if not folder.is_dir():
            expected.add(f"{place}.py")
        expected |= {
            f"{place}/{file.relative_to(folder).as_posix()}"
            for file in folder.rglob("*")
            if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
        }
    assert {name for name in names if not name.startswith(info)} == expected
    assert {"florilegium/py.typed", "florilegium/_train/recipes/best.toml"} <= expected
    assert f"{info}/licenses/LICENSE" in names


def test_the_sdist_has_what_the_checkout_has_and_nothing_of_the_user(built: Path) -> None:
    (source,) = (built / "unpacked").iterdir()
    there = {file.relative_to(source).as_posix() for file in source.rglob("*") if file.is_file()}
    of_rooms = {path.relative_to(REPOSITORY).as_posix() for room in (*ORDER, "tests") for path in modules(room)}
    assert there >= of_rooms | {"hatch_build.py", "aux/cat_to_name.json", "README.md", "LICENSE", "pyproject.toml"}
    assert {path for path in there if path.startswith("flower_data/")} == {"flower_data/README.md"}


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"florilegium-{__version__}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nProject-URL: " in metadata
    for extra in PROJECT["project"]["optional-dependencies"]:
        assert f"\nProvides-Extra: {extra}\n" in metadata
    assert "florilegium = florilegium.__main__:main" in entry_points


# The package beside a stranger's files


@pytest.mark.thorough
def test_no_stranger_is_imported_and_no_name_of_ours_is_taken(desk: Path, site: Path) -> None:
    """All modules together, each of which runs its imports, and then the names that people call."""
    code = """
        import importlib, json, pkgutil, sys
        import florilegium
        public = {name: getattr(florilegium, name) for name in florilegium.__all__}
        found = [module.name for module in pkgutil.walk_packages(florilegium.__path__, "florilegium.")]
        for name in found:
            importlib.import_module(name)
        taken = [name for name, value in public.items() if getattr(florilegium, name) is not value]
        print(json.dumps([found, sorted({name.split(".")[0] for name in sys.modules}), taken]))
    """
    found, loaded, taken = json.loads(python(code, desk, site).splitlines()[-1])
    assert {f"florilegium._{room}" for room in ROOMS} <= set(found)
    assert len(found) > 150
    assert not {*ROOMS, "tests", "benchmarks"} & set(loaded)
    assert taken == []


def test_a_users_own_modules_stay_the_users(tmp_path: Path, site: Path) -> None:
    (tmp_path / "curate").mkdir()
    (tmp_path / "curate" / "__init__.py").write_text("WHOSE = 'the user'")
    (tmp_path / "train.py").write_text("WHOSE = 'the user'")
    code = """
        import florilegium, florilegium._train.recipe
        import curate, train
        print(curate.WHOSE, train.WHOSE, florilegium.__version__)
    """
    assert python(code, tmp_path, site).split() == ["the", "user", "the", "user", __version__]


def test_names_and_recipes_come_along(desk: Path, site: Path) -> None:
    code = """
        from florilegium._curate.names import load_names, load_queries
        from florilegium._train.recipe import list_recipes
        print(len(load_names()), len(load_queries()), len(list_recipes()))
    """
    recipes = len(list((REPOSITORY / "train" / "recipes").glob("*.toml")))
    assert python(code, desk, site).split() == ["102", "102", str(recipes)]


def test_the_command_is_called_by_its_own_name(desk: Path, site: Path) -> None:
    """In the checkout it is cli.py, which an installed package does not have."""
    assert (COMMAND, INSTALLED) == ("cli.py", False)
    command = (sys.executable, "-m", "florilegium")
    path = str(site)
    assert stdout(run(*command, "--version", cwd=desk, PYTHONPATH=path)).strip() == __version__
    for arguments in (["--help"], ["clean", "--help"], ["model-card", "--help"], ["recipes"], ["bank"]):
        said = stdout(run(*command, *arguments, cwd=desk, PYTHONPATH=path))
        assert "cli.py" not in said, arguments
        assert "florilegium" in said, arguments
    missing = run(*command, "clean", "nowhere", cwd=desk, PYTHONPATH=path)
    assert (missing.returncode, "There is no folder nowhere" in missing.stderr) == (2, True)


def test_the_google_source_finds_itself(desk: Path, site: Path, tmp_path: Path) -> None:
    """It runs in a process of its own, which is told which module it is."""
    package = tmp_path / "stand_in" / "google_images_download"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "google_images_download.py").write_text(
        "import json, pathlib\n"
        "class googleimagesdownload:\n"
        "    def download(self, asked):\n"
        "        pathlib.Path('logs').mkdir()\n"
        "        found = [{'image_link': 'https://flowers.example/1.jpg', 'image_source': 'https://flowers.example/'}]\n"
        "        pathlib.Path('logs', asked['keywords'] + '.json').write_text(json.dumps(found))\n"
    )
    (tmp_path / "bin").mkdir()
    driver = tmp_path / "bin" / "chromedriver"
    driver.write_text("#!/bin/sh\n")
    driver.chmod(0o755)
    code = """
        import asyncio
        from florilegium._curate.sources import open_source
        from florilegium._curate.sources.protocol.image_search import Query, SourceOptions
        from florilegium._curate.web.fetch import Fetcher
        from florilegium._curate.web.network import Network

        async def search():
            async with Fetcher(Network()) as fetcher:
                source = open_source("google", fetcher, SourceOptions(None))
                return await source.page(Query("21", "fire lily", "fire lily"), 10, None)

        print(*[candidate.url for candidate in asyncio.run(search()).candidates])
    """
    path = os.pathsep.join([str(site), str(tmp_path / "stand_in")])
    bins = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    done = run(sys.executable, "-c", textwrap.dedent(code), cwd=desk, PYTHONPATH=path, PATH=bins)
    assert stdout(done).split() == ["https://flowers.example/1.jpg"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, which installs")
def test_an_empty_environment_walks_the_demo(wheel: Path, desk: Path, tmp_path: Path) -> None:
    """Installed with what it names and nothing else: no extra, no tool of the tests."""
    environment = tmp_path / "environment"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stdout(run("uv", "venv", "--python", version, environment, cwd=tmp_path))
    binaries = environment / ("Scripts" if os.name == "nt" else "bin")
    stdout(run("uv", "pip", "install", "--python", environment, wheel, cwd=tmp_path, timeout=1800))
    florilegium = binaries / "florilegium"
    assert stdout(run(florilegium, "--version", cwd=desk)).strip() == __version__
    said = stdout(run(florilegium, "demo", cwd=desk, timeout=1800))
    assert "Accuracy on test" in said
    assert "florilegium clean && florilegium split && florilegium train" in said
    (checkpoint,) = (desk / "demo_garden" / "models").glob("model_*.pth")
    picture = next((desk / "demo_garden" / "test").glob("*/*"))
    stdout(run(florilegium, "predict", picture, "--checkpoint", checkpoint, cwd=desk))
    refused = run(florilegium, "scrape", "--source", "duckduckgo", "--license", "any", cwd=desk)
    assert (refused.returncode, "`pip install ddgs` in Florilegium's environment" in refused.stderr) == (2, True)


# How imports are moved inside


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from curate.clean import clean\n", "from florilegium._curate.clean import clean\n"),
        ("from curate import clean, split", "from florilegium._curate import clean, split"),
        ("def f():\n\tfrom train.run import (\n  a,\n)", "def f():\n\tfrom florilegium._train.run import (\n  a,\n)"),
        ("if x: from cli import app", "if x: from florilegium._cli import app"),
        ("é = 'é'; from cli import a; from curate import b; c = 1",
         "é = 'é'; from florilegium._cli import a; from florilegium._curate import b; c = 1"),
        ("import os\r\nfrom curate.x import y\r\n", "import os\r\nfrom florilegium._curate.x import y\r\n"),
    ],
)  # fmt: skip
def test_an_import_of_a_room_is_moved_inside(before: str, after: str) -> None:
    assert with_imports_inside(before.encode(), {"cli", "curate", "train"}).decode() == after


@pytest.mark.parametrize(
    "source",
    [
        '"""from curate.clean import clean"""\n# from curate.clean import clean\nx = "from curate import y"\n',
        "from curated.x import y\nimport curated\nfrom torch import train\nfrom . import curate\nfrom .cli import x\n",
        "text = '''\nfrom curate.clean import clean\n'''\nimport os.path as train\n",
    ],
)
def test_all_else_stays_as_it_is(source: str) -> None:
    assert with_imports_inside(source.encode(), {"cli", "curate", "train"}).decode() == source


@pytest.mark.parametrize(
    "source", ["import os, curate.clean", "import curate", "import train as t", "from  curate import x",
               "from \\\n curate import x"]
)  # fmt: skip
def test_an_import_that_cannot_be_moved_ends_the_build(source: str) -> None:
    with pytest.raises(ValueError, match="write `from "):
        with_imports_inside(source.encode(), {"curate", "train"})


@pytest.mark.parametrize("room", ORDER)
def test_a_room_can_be_moved_inside(room: str) -> None:
    """No `import curate.x`, and no module that is named by a text: both would name what is not there."""
    named = set()
    for path in modules(room):
        source = path.read_bytes()
        with_imports_inside(source, set(ROOMS))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = node.value.split(".")
                if words[0] in ROOMS and len(words) > 1 and all(word.isidentifier() for word in words):
                    named.add((path.relative_to(REPOSITORY).as_posix(), node.value))
    files = {f"{room}.py" for room in ROOMS}
    assert {(path, text) for path, text in named if text not in files} == set()


# What pyproject.toml says


def test_the_build_knows_every_room() -> None:
    hook = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    assert {Path(room).stem for room in hook["rooms"]} == set(ROOMS)
    looked_at = {key["file"] for key in PROJECT["tool"]["uv"]["cache-keys"]}
    for room in ORDER:
        assert looked_at & {f"{room}.py", f"{room}/**/*.py"}, room
        folder = REPOSITORY / room
        others = {path.suffix for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        for suffix in others - {".py", ".typed"}:
            assert any(pattern.startswith(f"{room}/") and pattern.endswith(f"*{suffix}") for pattern in looked_at)


def distribution(requirement: str) -> str:
    """The name of a requirement, as package indexes compare names."""
    name = requirement.split(";")[0]
    for mark in "[<>=!~ ":
        name = name.split(mark)[0]
    return normalised(name)


def normalised(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


def third_parties(paths: list[Path]) -> Iterator[tuple[str, str]]:
    """(file, top module) of every import that is neither Python's nor ours."""
    ours = {*ORDER, "tests", "benchmarks", "hatch_build"}
    for path in paths:
        for top in imported_by(path):
            if top not in sys.stdlib_module_names and top not in ours:
                yield path.relative_to(REPOSITORY).as_posix(), top


@cache
def imported_by(path: Path) -> set[str]:
    """The top modules that a file imports."""
    names = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return {name.split(".")[0] for name in names}


def declared() -> dict[str, set[str]]:
    """Distributions by where they are declared."""
    project = PROJECT["project"]
    return {
        "needed": {distribution(one) for one in project["dependencies"]},
        "extra": {distribution(one) for extra in project["optional-dependencies"].values() for one in extra},
        "dev": {distribution(one) for one in PROJECT["dependency-groups"]["dev"]},
    }


def undeclared(paths: list[Path], known: set[str]) -> set[tuple[str, str]]:
    provided = packages_distributions()
    return {
        (path, top)
        for path, top in third_parties(paths)
        if not known & {normalised(name) for name in provided.get(top, [top])}
    }


@pytest.mark.thorough
def test_what_is_imported_is_declared() -> None:
    lists = declared()
    shipped = [path for room in ORDER for path in modules(room)]
    assert undeclared(shipped, lists["needed"] | lists["extra"]) == set()
    others = [*modules("tests"), *modules("benchmarks"), REPOSITORY / "hatch_build.py"]
    found = undeclared(others, lists["needed"] | lists["dev"] | lists["extra"])
    assert {(path, top) for path, top in found if top not in PEERS} == set()


def test_what_is_needed_is_imported() -> None:
    """What only tests or one source need is no dependency of everybody's."""
    provided = packages_distributions()
    shipped = [path for room in ORDER for path in modules(room)]
    imported = {normalised(name) for _, top in third_parties(shipped) for name in provided.get(top, [top])}
    by_text = {"split-folders"}  # by importlib, as its package has no types
    found_by_name = {one.package for one in PACKAGED.values()}  # for a file in them, and nothing of them is executed
    assert declared()["needed"] - imported == found_by_name
    lists = PROJECT["project"]["optional-dependencies"]
    for extra in ("duckduckgo", "google", "split-folders"):
        assert {distribution(one) for one in lists[extra]} <= imported | by_text


def test_the_checkout_has_every_source_and_method_that_the_readme_tells_of() -> None:
    """`uv run` installs the group dev, with the very versions that the extras ask for."""
    group, extras = PROJECT["dependency-groups"]["dev"], PROJECT["project"]["optional-dependencies"]
    for extra in ("duckduckgo", "google", "split-folders", "parquet"):
        assert set(extras[extra]) <= set(group), extra
    assert PROJECT["tool"]["uv"]["package"] is False  # or each `uv run` would build one
    named = {
        *("google-images-download", "split-folders", "torchsampler", "torch", "torchvision", "pillow", "imagehash"),
        *("typer", "pytest"),
    }
    assert named <= set().union(*declared().values())


def test_the_folder_for_pictures_says_what_goes_where_and_is_empty_to_git(tmp_path: Path) -> None:
    readme = (REPOSITORY / "flower_data" / "README.md").read_text(encoding="utf-8")
    assert all(name in readme for name in ("raw/<class>/", "train/<class>/", "quarantine/", "cat_to_name.json"))
    shutil.copy(REPOSITORY / ".gitignore", tmp_path)
    git = ("git", "-C", tmp_path)
    stdout(run(*git, "init", "--quiet", cwd=tmp_path))
    kept = ["flower_data/README.md", "demo/tour.py"]
    ignored = [
        "flower_data/raw/1/a.jpg",
        "flower_data/catalog.sqlite",
        "models/model_99.00.pth",
        "dist/x.whl",
        "uv.lock",
    ]
    for file in (*kept, *ignored):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    said = stdout(run(*git, "status", "--porcelain", "--untracked-files=all", cwd=tmp_path))
    assert sorted(line[3:] for line in said.splitlines()) == sorted([".gitignore", *kept])
