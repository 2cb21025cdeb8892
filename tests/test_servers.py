"""Buckets on an S3 server, and files on the web: read over real connections, which break."""

import functools
import http.server
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.export import export
from curate.files import remote
from curate.files.addresses import located
from curate.files.reading import NotAPlainFile, open_file, read_file, sha256_of
from curate.fixed.opening import forget_listings
from curate.split import split
from tests.buckets import (
    ADDRESS,
    KEY,
    SECRET,
    THERE,
    Bucket,
    bucket_server,
    head_of,
    plant_flowers,
    rows_of,
    train_quickly,
)
from tests.commanding import command
from tests.forking import Forks
from tests.pictures import dataset, encoded_field, field, write
from tests.training_ground import TINY, grow
from train.checkpoint import load_checkpoint

pytest.importorskip("pyarrow.parquet")
pytest.importorskip("aiohttp")


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with bucket_server() as bucket:
        yield bucket


@pytest.fixture
def s3(server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket on a server, that this process may read, and a folder of its own."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # which has the environment of another test
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "_PAUSE", 0.01)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for key in server.tags():
        server.delete(key)
    server.proxy.asked.clear()
    server.proxy.cut.clear()
    server.proxy.cut_once("nothing")
    forget_listings()
    return server


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    return plant_flowers(tmp_path / "flowers")


@pytest.mark.slow
def test_from_a_bucket_to_a_checkpoint_over_connections_that_are_cut(s3: Bucket, flowers: Path, forks: Forks) -> None:
    """Each stage as a user runs it, in a process of its own; the first answer to every reading is cut in the middle."""
    s3.fill(flowers, "flowers")
    before = s3.tags()
    s3.proxy.cut_once(r"GET /bucket/flowers.*\.(jpg|tar)")
    common = ("--backbone", TINY, "--weights", "none", "--device", "cpu", "--views", "1")
    commands: dict[str, tuple[Any, ...]] = {
        "clean": ("clean", ADDRESS, "--yes"),
        "split": ("split", ADDRESS, "--out", "s3://bucket/manifests"),
        "export": ("export", ADDRESS, "--format", "webdataset", "--out", "s3://bucket/flowers_shards"),
        "train": ("train", ADDRESS, *common, "--models", "from_folder"),
        "train shards": ("train", "s3://bucket/flowers_shards", *common, "--models", "from_shards"),
    }
    said = {}
    for name, words in commands.items():
        done = forks.start_cli(*words, cwd=Path.cwd(), **s3.environment).wait()
        assert done.returncode == 0, (name, done.stderr[-3000:])
        assert SECRET not in done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr
        said[name] = done.stdout
    assert s3.tags("flowers/") == before  # nothing of the dataset was moved or written
    assert len(s3.proxy.cut) > 20  # each picture, at least one shard
    assert any(".tar" in request for request in s3.proxy.cut)
    left = {path: row["reason"] for path, row in rows_of("quarantine").items()}
    assert left.pop("rose/broken.jpg") == "broken"
    assert left in ({"rose/the same.jpg": "duplicate"}, {"rose/picture 1.jpg": "duplicate"})
    assert "quarantine.parquet: 2 files" in said["clean"]
    assert "s3://bucket/flowers" in said["clean"]
    parts = rows_of("split")
    assert Counter(row["split"] for row in parts.values()) == {"train": 16, "valid": 2, "test": 2}
    assert all(row["sha256"] == sha256_of(flowers / path) for path, row in parts.items())
    assert s3.get("manifests/split.parquet") == next(Path.cwd().glob("flowers-*/split.parquet")).read_bytes()
    first, second = (load_checkpoint(next(Path(name).glob("model_*.pth"))) for name in ("from_folder", "from_shards"))
    assert first.dataset["fingerprint"] == second.dataset["fingerprint"]
    assert all(torch.equal(value, second.head.state_dict()[name]) for name, value in first.head.state_dict().items())
    for file in Path.cwd().rglob("*"):  # catalogs, manifests, runs, checkpoints, banks
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


@pytest.mark.thorough
def test_a_wrong_bucket_is_a_sentence(s3: Bucket) -> None:
    for address, said in (
        ("s3://no-such-bucket/flowers", "s3://no-such-bucket/flowers cannot be listed"),
        ("s3://No Bucket At All/flowers", "is no address that anything can lie at"),
    ):
        assert said in command("clean", address, "--dry-run").sentence
    s3.put("flowers/a/1.jpg", encoded_field(field(1)))
    s3.put("flowers/b/1.jpg", encoded_field(field(2)))
    words = ("--format", "webdataset", "--out", "s3://no-such-bucket/out")
    assert "s3://no-such-bucket/out/" in command("export", ADDRESS, *words).sentence


def test_nobody_answering_is_a_sentence(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    said = command("clean", "s3://bucket/elsewhere", "--dry-run").sentence
    assert said.startswith("The connection to s3://bucket/elsewhere/shards.json failed 5 times (")
    assert SECRET not in said


@pytest.mark.thorough
def test_an_outage_in_the_middle_ends_the_command_and_nothing_is_taken_for_broken(
    s3: Bucket, flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.fill(flowers, "flowers")
    monkeypatch.setattr(remote, "_TRIES", 1)
    outage = r"GET /bucket/flowers/rose/picture%200\.jpg"
    s3.proxy.cut_always(outage)
    with pytest.raises(UserError, match=r"The connection to s3://bucket/flowers/rose/.* failed \("):
        clean(THERE, yes=True)
    assert not list(Path.cwd().glob("flowers-*/*.parquet"))
    s3.proxy.cut_once("nothing")
    assert clean(THERE, yes=True).moved == 2  # the same command goes on
    split(THERE)
    s3.proxy.cut_always(outage)
    with pytest.raises(UserError, match=r"The connection to s3://bucket/flowers/rose/.* failed \("):
        train_quickly(ADDRESS, tmp_path / "models")
    assert not list((tmp_path / "models").glob("*.pth"))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A plain web server, which knows no parts of files: its address and its folder."""
    root = tmp_path / "web"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", root
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.thorough
def test_shards_are_read_from_any_web_server(web: tuple[str, Path], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote, "_PAUSE", 0.01)
    address, folder = web
    garden = grow(tmp_path / "garden", {"train": 5, "valid": 2}, classes=2)
    export(garden, folder / "shards", format="webdataset")
    one, two = train_quickly(f"{address}/shards", tmp_path / "m1"), train_quickly(garden, tmp_path / "m2")
    assert all(torch.equal(value, head_of(two)[name]) for name, value in head_of(one).items())
    (folder / "shards" / "train-00000.tar").unlink()
    forget_listings()
    with pytest.raises(UserError, match=r"train-00000\.tar is missing: copy it"):
        open_dataset(located(f"{address}/shards"))


def test_a_web_server_that_is_gone_has_lost_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSE", 0.01)
    with pytest.raises(UserError, match=r"The connection to http://127\.0\.0\.1:9/a\.jpg failed 5 times"):
        read_file(located("http://127.0.0.1:9/a.jpg"))


def test_class_folders_are_listed_where_a_web_server_lists_them(
    web: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address, folder = web
    dataset(folder / "flowers", {"moon orchid": 3, "rose": 3})
    report = clean(located(f"{address}/flowers"), dry_run=True)
    assert (report.scan.read, report.dataset.labels()) == (6, ["moon orchid", "rose"])
    again = clean(located(f"{address}/flowers"), dry_run=True)
    assert (again.scan.read, again.scan.checked) == (0, 0)


def test_a_folder_is_never_taken_for_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: tuple[str, Path]
) -> None:
    """A dataset from elsewhere may have a class folder "http:", and must not make us ask a server of its choice."""
    address, served = web
    host = address.removeprefix("http://")
    (served / "a.jpg").write_bytes(encoded_field(field(1)))
    data = tmp_path / "data"
    write(data / "http:" / host / "a.jpg", encoded_field(field(2)))
    write(data / "rose" / "a.jpg", encoded_field(field(3)))
    monkeypatch.chdir(data)
    assert read_file(Path("http:") / host / "a.jpg") == encoded_field(field(2))
    assert clean(Path(), dry_run=True).scan.read == 2
    with Catalog.open(open_dataset(Path()).catalog_path) as catalog:
        (odd,) = [one for one in catalog.intact() if one.label == "http:"]
    assert odd.sha256 == sha256_of(data / "http:" / host / "a.jpg")


def test_one_door_reads_everything_and_never_too_much(s3: Bucket) -> None:
    s3.put("a/file", b"0123456789")
    s3.put("a/empty", b"")
    s3.put("a/x.tar", b"0123456789")
    root = located("s3://bucket/a")
    assert read_file(root / "file") == b"0123456789"
    assert read_file(root / "file", 10) == b"0123456789"
    assert read_file(root / "empty") == b""
    assert read_file(root / "x.tar" / "b@2+3.jpg") == b"234"
    with pytest.raises(NotAPlainFile, match="over the limit"):
        read_file(root / "file", 9)
    with pytest.raises(NotAPlainFile, match="ends before it"):
        read_file(root / "x.tar" / "b@8+3.jpg")
    with pytest.raises(FileNotFoundError, match="it is not there"):
        read_file(root / "nothing")
    with open_file(root / "file") as stream:
        stream.seek(-3, os.SEEK_END)
        assert stream.read() == b"789"
        stream.seek(1)
        assert stream.read(2) == b"12"
    assert (root / "file").is_file()
    assert root.is_dir()
    assert not (root / "nothing").exists()


def test_keys_that_could_lead_elsewhere_are_passed_over(s3: Bucket) -> None:
    for key in ("a/1.jpg", "b/2.jpg", "a/../../x/3.jpg", "a//4.jpg", "./5/6.jpg", ".hidden/7.jpg", "loose.jpg"):
        s3.put(f"flowers/{key}", encoded_field(field(1)))
    assert {file.path for file in open_dataset(THERE).files()} == {"a/1.jpg", "b/2.jpg"}


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [("AWS_PROFILE", "nosuch", "ProfileNotFound"), ("FSSPEC_S3", '{"nosuch": true}', "TypeError")],
)
def test_a_setting_that_cannot_be_is_no_outage(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, said: str
) -> None:
    """It is said at once, and of no connection: no further try mends it."""
    import fsspec

    if setting == "FSSPEC_S3":
        monkeypatch.setitem(fsspec.config.conf, "s3", {"nosuch": True})  # it is read when fsspec is imported
    else:
        monkeypatch.setenv(setting, value)
    with pytest.raises(UserError, match=rf"settings for s3://bucket/a .* cannot be used \({said}\)"):
        read_file(located("s3://bucket/a"))
