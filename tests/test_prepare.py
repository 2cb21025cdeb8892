"""Pictures come prepared in order and untouched, whichever process decodes them and whatever becomes of it."""

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.image import BrokenImage
from tests.pictures import draw
from train.features.prepare import PictureRef, Prepared, prepared
from train.features.preprocessing import Preprocessing
from train.features.views import Views

REPOSITORY = Path(__file__).resolve().parent.parent
SEEN = Preprocessing(48, 32, "bilinear", (0.5,) * 3, (0.5,) * 3)

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks safely")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for number in range(20):
        (tmp_path / f"{number:02d}.jpg").write_bytes(draw(number))
    (tmp_path / "07.jpg").write_text("<html>not found</html>")
    (tmp_path / "11.jpg").unlink()
    return [tmp_path / f"{number:02d}.jpg" for number in range(20)]


def expected(file: Path, views: Views, numbers: list[int]) -> np.ndarray[Any, Any]:
    data = file.read_bytes()
    return views.pixels(data, str(file), hashlib.sha256(data).hexdigest(), numbers, SEEN)


@pytest.mark.parametrize("ahead", [1, 3, 64])
def test_each_picture_has_the_views_it_lacks(files: list[Path], ahead: int) -> None:
    views = Views(3, seed=5)
    digests = {hashlib.sha256(file.read_bytes()).hexdigest(): at for at, file in enumerate(files) if file.exists()}

    def lacking(sha256: str) -> list[int]:
        return [[0, 1, 2], [1], [], [0, 2]][digests[sha256] % 4]

    with prepared([PictureRef(file) for file in files], views, SEEN, lacking, ahead=ahead, workers=2) as results:
        for at, (file, found) in enumerate(zip(files, results, strict=True)):
            if at in {7, 11}:
                assert isinstance(found, BrokenImage)
                assert found.path == str(file)
                continue
            assert isinstance(found, Prepared)
            assert digests[found.sha256] == at
            assert found.numbers == lacking(found.sha256)
            if found.numbers:
                np.testing.assert_array_equal(found.pixels, expected(file, views, found.numbers))
            else:
                assert len(found.pixels) == 0


def test_a_picture_that_lacks_nothing_is_not_read(tmp_path: Path) -> None:
    gone = [PictureRef(tmp_path / f"{number}.jpg", f"{number:064x}") for number in range(12)]
    with prepared(gone, Views(), SEEN, lambda _: [], ahead=4) as results:
        assert [found.sha256 for found in results if isinstance(found, Prepared)] == [one.sha256 for one in gone]


def alone(code: str, *arguments: str) -> Any:
    """What a program without other threads prints as JSON: only there is it forked."""
    head = """
        import hashlib, json, os, random, signal, sys, time
        from pathlib import Path
        import numpy as np
        from curate.errors import UserError
        from curate.image import BrokenImage
        from train.features.prepare import PictureRef, prepared
        from train.features.preprocessing import Preprocessing
        from train.features.views import Views
        ours, seen = os.getpid(), Preprocessing(16, 16, "bilinear", (0.5,) * 3, (0.5,) * 3)
        folder = Path(sys.argv[1])
        for number in range(60):
            (folder / f"{number:02d}").write_text(str(number))
        pictures = [PictureRef(folder / f"{number:02d}") for number in range(60)]
    """
    program = textwrap.dedent(head) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.thorough
@linux
@pytest.mark.parametrize("ahead", [1, 5, 40])
def test_shared_pixels_are_not_written_over_before_they_were_seen(ahead: int, tmp_path: Path) -> None:
    """Decoders of unlike speed, and a consumer that dawdles: each picture still holds its own number when seen."""
    decoders, wrong = alone(
        """
        def pixels(self, data, path, sha256, numbers, to):
            assert os.getpid() != ours
            number = int(data)
            time.sleep(random.Random(number).choice([0, 0, 0.02]))
            return np.full((len(numbers), 16, 16, 3), number, np.uint8)

        Views.pixels = pixels
        wrong = []
        with prepared(pictures, Views(2), seen, lambda _: [0, 1], ahead=int(sys.argv[2]), workers=3) as results:
            for number, found in enumerate(results):
                time.sleep(random.Random(-number).choice([0, 0, 0.01]))
                if found.sha256 != hashlib.sha256(str(number).encode()).hexdigest() or (found.pixels != number).any():
                    wrong.append(number)
        print(json.dumps([number + 1, wrong]))
        """,
        str(tmp_path),
        str(ahead),
    )
    assert decoders == 60
    assert wrong == []


@pytest.mark.thorough
@linux
def test_beside_a_thread_a_server_s_processes_give_the_same_pixels(tmp_path: Path, files: list[Path]) -> None:
    """As in a notebook, and after a network was compiled."""
    broken, wrong, served = alone(
        """
        import threading
        from curate import forked
        from curate.fork_server import ForkServer
        from train.features.prepare import Lacking

        files = [Path(one) for one in sys.argv[2:]]
        views, names = Views(3, seed=5), Views(3, seed=5).names()
        known = {hashlib.sha256(file.read_bytes()).hexdigest(): {names[0]} for file in files[::2] if file.exists()}
        lacking = Lacking(names, known)

        def all_of():
            with prepared([PictureRef(one) for one in files], views, seen, lacking, ahead=5, workers=3) as results:
                return [(f.sha256, f.numbers, f.pixels.copy()) if hasattr(f, "pixels") else f.reason for f in results]

        here = all_of()
        assert not ForkServer.is_running()
        forked._WORTH_SERVING = 8
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        there = all_of()
        same = [a == b if isinstance(a, str) else a[:2] == b[:2] and (a[2] == b[2]).all() for a, b in zip(here, there)]
        wrong = [at for at, fine in enumerate(same) if not fine]
        print(json.dumps([sum(isinstance(one, str) for one in here), wrong, ForkServer.is_running()]))
        """,
        str(tmp_path),
        *map(str, files),
    )
    assert served
    assert broken == 2
    assert wrong == []


@pytest.mark.thorough
@linux
def test_a_picture_that_crashes_its_decoder_is_broken_and_the_others_are_whole(tmp_path: Path) -> None:
    broken, whole = alone(
        """
        def pixels(self, data, path, sha256, numbers, to):
            if int(data) in {0, 23, 24, 59}:
                os.kill(os.getpid(), signal.SIGSEGV)
            return np.full((1, 16, 16, 3), int(data), np.uint8)

        Views.pixels = pixels
        with prepared(pictures, Views(), seen, lambda _: [0], ahead=8, workers=3) as results:
            found = [one.reason if isinstance(one, BrokenImage) else int(one.pixels[0, 0, 0, 0]) for one in results]
        print(json.dumps([[at for at, one in enumerate(found) if isinstance(one, str)],
                          [one for one in found if not isinstance(one, str)]]))
        """,
        str(tmp_path),
    )
    assert broken == [0, 23, 24, 59]
    assert whole == [number for number in range(60) if number not in broken]


@pytest.mark.thorough
@linux
def test_a_process_that_is_killed_from_outside_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    told = alone(
        """
        def pixels(self, data, path, sha256, numbers, to):
            if int(data) == 30:
                os.kill(os.getpid(), signal.SIGKILL)
            return np.zeros((1, 16, 16, 3), np.uint8)

        Views.pixels = pixels
        try:
            with prepared(pictures, Views(), seen, lambda _: [0], ahead=8, workers=3) as results:
                for _ in results:
                    pass
        except UserError as error:
            print(json.dumps(str(error)))
        """,
        str(tmp_path),
    )
    assert "killed" in told
    assert str(tmp_path / "30") in told
