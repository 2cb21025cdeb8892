"""A dataset in a bucket: cleaned, split, exported and learnt from where it lies, over connections that break."""

import functools
import http.server
import os
import pickle
import shutil
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
from curate.facts import export_facts, import_facts
from curate.files import remote
from curate.files.addresses import RemotePath, is_remote, located
from curate.files.reading import NotAPlainFile, open_file, read_file, sha256_of
from curate.fixed.manifest import read_manifest
from curate.fixed.opening import forget_listings
from curate.restore import restore
from curate.scan import scan
from curate.split import split
from curate.verify import verify
from tests.buckets import KEY, SECRET, Bucket, bucket_server
from tests.commanding import command
from tests.forking import Forks
from tests.pictures import dataset, encoded_field, field, tree, write
from tests.training_ground import TINY, grow
from train.checkpoint import load_checkpoint
from train.optimising.settings import FitSettings
from train.training import TrainingReport, TrainOptions, train_head

parquet = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("s3fs")
pytest.importorskip("moto")

ADDRESS = "s3://bucket/flowers"
THERE = located(ADDRESS)


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    with bucket_server() as bucket:
        yield bucket


@pytest.fixture
def bucket(server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket that this process may read, in a folder of its own."""
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
    """Two classes of ten pictures on this disk, one of them twice; and a file that is broken."""
    root = tmp_path / "flowers"
    dataset(root, {"lily of Ünïcödé 百合": 10, "rose": 10})
    shutil.copy(root / "rose" / "picture 1.jpg", root / "rose" / "the same.jpg")
    write(root / "rose" / "broken.jpg", b"no picture")
    write(root / "rose" / "notes.txt", b"no picture, and not called like one")
    return root


def manifest(name: str, here: Path | None = None) -> dict[str, dict[str, str]]:
    """Path → the row of a manifest, as any tool reads it."""
    (file,) = (here or Path.cwd()).glob(f"flowers-*.florilegium/{name}.parquet")
    return {row["path"]: row for row in parquet.read_table(file).to_pylist()}


def train(root: str | Path, models: Path, **changes: Any) -> TrainingReport:
    settings: dict[str, Any] = {
        "backbone": TINY, "weights": "none", "models": models, "device": "cpu", "views": 1,
        "head": FitSettings(epochs=5),
    }  # fmt: skip
    return train_head(located(root), TrainOptions(**{**settings, **changes}))


def head_of(report: TrainingReport) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(report.checkpoint).head.state_dict())


def test_from_a_bucket_to_a_checkpoint_over_connections_that_are_cut(
    bucket: Bucket, flowers: Path, forks: Forks
) -> None:
    """Each stage as a user runs it, in a process of its own; the first answer to every reading is cut in the middle."""
    bucket.fill(flowers, "flowers")
    before = bucket.tags()
    bucket.proxy.cut_once(r"GET /bucket/flowers.*\.(jpg|tar)")
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
        done = forks.start_cli(*words, cwd=Path.cwd(), **bucket.environment).wait()
        assert done.returncode == 0, (name, done.stderr[-3000:])
        assert SECRET not in done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr
        said[name] = done.stdout
    assert bucket.tags("flowers/") == before  # nothing of the dataset was moved or written
    assert len(bucket.proxy.cut) > 20  # each picture, at least one shard
    assert any(".tar" in request for request in bucket.proxy.cut)
    left = {path: row["reason"] for path, row in manifest("quarantine").items()}
    assert left.pop("rose/broken.jpg") == "broken"
    assert left in ({"rose/the same.jpg": "duplicate"}, {"rose/picture 1.jpg": "duplicate"})
    assert "quarantine.parquet: 2 files" in said["clean"]
    assert "s3://bucket/flowers" in said["clean"]
    parts = manifest("split")
    assert Counter(row["split"] for row in parts.values()) == {"train": 16, "valid": 2, "test": 2}
    assert all(row["sha256"] == sha256_of(flowers / path) for path, row in parts.items())
    assert bucket.get("manifests/split.parquet") == next(Path.cwd().glob("flowers-*/split.parquet")).read_bytes()
    first, second = (load_checkpoint(next(Path(name).glob("model_*.pth"))) for name in ("from_folder", "from_shards"))
    assert first.dataset["fingerprint"] == second.dataset["fingerprint"]
    assert all(torch.equal(value, second.head.state_dict()[name]) for name, value in first.head.state_dict().items())
    for file in Path.cwd().rglob("*"):  # catalogs, manifests, runs, checkpoints, banks
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


def test_a_bucket_gives_what_the_folder_gives(bucket: Bucket, flowers: Path, tmp_path: Path) -> None:
    """The same pictures leave, go to the same splits, and teach the same classifier."""
    bucket.fill(flowers, "flowers")
    there, here = clean(THERE, yes=True), clean(flowers, yes=True)
    assert [(one.path, one.reason) for one in there.plan.decisions] == [
        (one.path, one.reason) for one in here.plan.decisions
    ]
    assert (there.moved, there.scan.strangers) == (here.moved, 1) == (2, 1)
    there_split, here_split = split(THERE), split(flowers)
    assert there_split.counts == here_split.counts
    assert there_split.proof == here_split.proof
    of = {path: row["split"] for path, row in manifest("split").items()}
    placed = {name: to for to in ("train", "valid", "test") for name in tree(tmp_path / "flowers_split" / to)}
    assert of == placed
    assert verify(THERE).in_order
    export(THERE, tmp_path / "one", format="webdataset")
    export(flowers, tmp_path / "two", format="webdataset")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    one, two = train(ADDRESS, tmp_path / "m1"), train(flowers, tmp_path / "m2")
    assert (one.train_pictures, one.valid_pictures) == (two.train_pictures, two.valid_pictures) == (16, 2)
    assert all(torch.equal(value, head_of(two)[name]) for name, value in head_of(one).items())


def test_what_is_known_is_not_read_again_and_what_changed_is(bucket: Bucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    clean(THERE, yes=True)
    bucket.proxy.asked.clear()
    again = clean(THERE, yes=True)
    assert (again.scan.read, again.moved) == (0, 0)
    assert not [request for request in bucket.proxy.asked if request.endswith(".jpg")]
    bucket.put("flowers/rose/picture 2.jpg", encoded_field(field(77)))
    bucket.put("flowers/rose/new.jpg", encoded_field(field(78)))
    bucket.delete("flowers/rose/picture 3.jpg")
    forget_listings()
    changed = clean(THERE, yes=True)
    assert (changed.scan.read, changed.scan.missing) == (2, 1)


def test_what_left_comes_back_and_stays(bucket: Bucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    clean(THERE, yes=True)
    (copy,) = [path for path, row in manifest("quarantine").items() if row["reason"] == "duplicate"]
    assert copy not in {file.path for file in open_dataset(THERE).files()}
    back = restore(THERE, reasons=["duplicate"])
    assert back is not None
    assert back.restored == [copy]
    assert list(manifest("quarantine")) == ["rose/broken.jpg"]
    assert copy in {file.path for file in open_dataset(THERE).files()}
    assert clean(THERE, yes=True).moved == 0  # who brought it back has decided
    with pytest.raises(UserError, match=r"rose/nothing\.jpg has not left s3://bucket/flowers: give"):
        restore(THERE, pictures=["rose/nothing.jpg"])


def test_a_new_object_under_the_name_of_one_that_left_is_looked_at(bucket: Bucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    clean(THERE, yes=True)
    bucket.put("flowers/rose/broken.jpg", encoded_field(field(55)))
    forget_listings()
    clean(THERE, yes=True)
    assert "rose/broken.jpg" in {file.path for file in open_dataset(THERE).files()}
    split(THERE)
    assert manifest("split")["rose/broken.jpg"]["split"] in {"train", "valid", "test"}


def test_pictures_that_come_later_move_no_old_one(bucket: Bucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    clean(THERE, yes=True)
    split(THERE)
    before = {path: row["split"] for path, row in manifest("split").items()}
    for number in range(200, 210):
        bucket.put(f"flowers/rose/picture {number}.jpg", encoded_field(field(number)))
    forget_listings()
    report = split(THERE)
    after = {path: row["split"] for path, row in manifest("split").items()}
    assert (report.new, report.kept) == (10, 20)
    assert {path: after[path] for path in before} == before


def test_splits_that_a_bucket_came_with_are_kept(bucket: Bucket, tmp_path: Path) -> None:
    root = grow(tmp_path / "garden", {"train": 6, "valid": 2, "test": 2}, classes=2)
    bucket.fill(root, "flowers")
    found = open_dataset(THERE)
    assert (found.layout, found.labels()) == ("split", ["iris", "rose"])
    assert {(file.split, file.label) for file in found.files()} == {
        (to, label) for to in ("train", "valid", "test") for label in ("iris", "rose")
    }
    one, two = train(ADDRESS, tmp_path / "m1"), train(root, tmp_path / "m2")
    assert all(torch.equal(value, head_of(two)[name]) for name, value in head_of(one).items())


def test_plans_are_written_and_read_beyond_the_disk(bucket: Bucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    done = command("clean", ADDRESS, "--dry-run", "--save-plan", "s3://bucket/plans/plan.jsonl")
    assert done.code == 0, done.err
    assert bucket.get("plans/plan.jsonl").count(b"\n") == 2
    assert not list(Path.cwd().glob("flowers-*/*.parquet"))
    carried = command("clean", ADDRESS, "--plan", "s3://bucket/plans/plan.jsonl")
    assert carried.code == 0, carried.err
    assert len(manifest("quarantine")) == 2
    bucket.put("plans/mine.txt", b"not a plan")
    refused = command("clean", ADDRESS, "--dry-run", "--save-plan", "s3://bucket/plans/mine.txt")
    assert "mine.txt" in refused.sentence
    assert bucket.get("plans/mine.txt") == b"not a plan"


def test_facts_of_a_bucket_are_proved_by_its_tags(bucket: Bucket, flowers: Path, tmp_path: Path) -> None:
    """What a cluster has computed, a laptop takes over without a look at the pictures."""
    bucket.fill(flowers, "flowers")
    assert export_facts(THERE, located("s3://bucket/facts")).pictures == 22
    (tmp_path / "laptop").mkdir()
    os.chdir(tmp_path / "laptop")
    forget_listings()
    bucket.proxy.asked.clear()
    taken = import_facts(THERE, located("s3://bucket/facts"))
    assert (taken.taken, taken.by_stamp, taken.decoded) == (21, 21, 8)
    read = {request for request in bucket.proxy.asked if request.endswith(".jpg")}
    assert len(read) == 8  # the sample
    bucket.put("flowers/rose/picture 2.jpg", encoded_field(field(77)))
    (tmp_path / "another").mkdir()
    os.chdir(tmp_path / "another")
    forget_listings()
    taken = import_facts(THERE, located("s3://bucket/facts"))
    assert [one.path for one in taken.refused] == ["rose/picture 2.jpg"]


def test_an_export_into_a_taken_place_is_refused(bucket: Bucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    bucket.put("taken/file", b"somebody's")
    for words, said in (
        (("--format", "webdataset", "--out", "s3://bucket/taken"), "is there already"),
        (("--format", "webdataset", "--out", "s3://bucket/flowers/inside"), "overlap: give another folder"),
        (("--format", "imagefolder", "--out", "s3://bucket/out"), "export as webdataset or parquet"),
        (("--format", "webdataset", "--out", "http://127.0.0.1:9/out"), "Nothing can be written to http://127.0.0.1:9"),
        (("--format", "webdataset", "--out", "s3://other-bucket"), "other-bucket"),
    ):
        before = bucket.tags()
        assert said in command("export", ADDRESS, *words).sentence
        assert bucket.tags() == before


def test_parquet_is_exported_file_by_file(bucket: Bucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    report = export(THERE, located("s3://bucket/out"), format="parquet")
    assert report.counts == {"train": 21}
    assert [key for key in bucket.tags("out/") if key.endswith(".parquet")] == ["out/data/train-00000-of-00001.parquet"]
    assert not list(Path.cwd().glob("flowers-*.florilegium/export*"))
    assert not [file for file in Path.cwd().rglob("*") if file.name.startswith(".florilegium-")]


def test_what_needs_a_folder_says_so(bucket: Bucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    assert "rename it there" in command("clean", ADDRESS, "--merge", "rose=lily of Ünïcödé 百合", "--yes").sentence


MISTAKES = {
    "s3://bucket/nothing": "nothing",
    "s3://no-such-bucket/flowers": "no-such-bucket",
    "s3://user:pass@bucket/flowers": "without a password",
    "https://example.org/shards?X-Amz-Signature=abc": "without a password",
}


@pytest.mark.parametrize("address", MISTAKES)
def test_a_wrong_address_is_a_sentence(bucket: Bucket, address: str) -> None:
    said = command("clean", address, "--dry-run").sentence
    assert MISTAKES[address] in said
    assert "pass@" not in said
    assert "abc" not in said
    assert not list(Path.cwd().iterdir())


def test_nobody_answering_is_a_sentence(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    said = command("clean", "s3://bucket/elsewhere", "--dry-run").sentence
    assert said.startswith("The connection to s3://bucket/elsewhere/shards.json failed 5 times (")
    assert SECRET not in said


def test_pictures_that_cannot_be_read_are_never_taken_for_broken(bucket: Bucket, flowers: Path) -> None:
    """A connection that fails for good must not set pictures aside."""
    bucket.fill(flowers, "flowers")
    found = open_dataset(THERE)
    for key in bucket.tags("flowers/rose/"):
        bucket.delete(key)
    with Catalog.open(found.catalog_path) as catalog:
        report = scan(found, catalog)
        assert catalog.broken() == []
        assert len(catalog.pictures()) == 10
    assert report.files == 22


def test_an_outage_in_the_middle_ends_the_command_and_nothing_is_taken_for_broken(
    bucket: Bucket, flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.fill(flowers, "flowers")
    monkeypatch.setattr(remote, "_TRIES", 1)
    outage = r"GET /bucket/flowers/rose/picture%20[0-9].*"
    bucket.proxy.cut_always(outage)
    with pytest.raises(UserError, match=r"The connection to s3://bucket/flowers/rose/.* failed 1 times"):
        clean(THERE, yes=True)
    assert not list(Path.cwd().glob("flowers-*/*.parquet"))
    bucket.proxy.cut_once("nothing")
    assert clean(THERE, yes=True).moved == 2  # the same command goes on
    split(THERE)
    bucket.proxy.cut_always(outage)
    with pytest.raises(UserError, match=r"The connection to s3://bucket/flowers/rose/.* failed 1 times"):
        train(ADDRESS, tmp_path / "models")
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


def test_shards_are_read_from_any_web_server(web: tuple[str, Path], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote, "_PAUSE", 0.01)
    address, folder = web
    garden = grow(tmp_path / "garden", {"train": 5, "valid": 2}, classes=2)
    export(garden, folder / "shards", format="webdataset")
    one, two = train(f"{address}/shards", tmp_path / "m1"), train(garden, tmp_path / "m2")
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


def test_an_address_is_a_path() -> None:
    path = located("s3://bucket/flowers/")
    assert str(path) == "s3://bucket/flowers"
    assert str(path / "rose" / "a b.jpg") == "s3://bucket/flowers/rose/a b.jpg"
    assert pickle.loads(pickle.dumps(path / "x")) == path / "x"
    assert isinstance(pickle.loads(pickle.dumps(path / "x")), RemotePath)
    assert (path.name, str(path.parent), path.resolve()) == ("flowers", "s3://bucket", path)
    assert str(located("s3:/bucket/flowers")) == "s3://bucket/flowers"  # as pathlib writes it, with one slash
    for plain in ("flowers", "./s3", "/s3:/x", "c:/x", "s3", "s3:x", "ftp://host/a"):
        assert not is_remote(located(plain))
        assert located(plain) == Path(plain)


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


def test_one_door_reads_everything_and_never_too_much(bucket: Bucket) -> None:
    bucket.put("a/file", b"0123456789")
    bucket.put("a/empty", b"")
    bucket.put("a/x.tar", b"0123456789")
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


def test_keys_that_could_lead_elsewhere_are_passed_over(bucket: Bucket) -> None:
    for key in ("a/1.jpg", "b/2.jpg", "a/../../x/3.jpg", "a//4.jpg", "./5/6.jpg", ".hidden/7.jpg", "loose.jpg"):
        bucket.put(f"flowers/{key}", encoded_field(field(1)))
    assert {file.path for file in open_dataset(THERE).files()} == {"a/1.jpg", "b/2.jpg"}


def test_a_manifest_that_is_not_ours_is_a_sentence(bucket: Bucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    clean(THERE, yes=True)
    split(THERE)
    (file,) = Path.cwd().glob("flowers-*/split.parquet")
    whole = file.read_bytes()
    for spoilt in (
        whole[: len(whole) // 2],
        b"no Parquet",
        next(Path.cwd().glob("flowers-*/quarantine.parquet")).read_bytes(),
    ):
        file.write_bytes(spoilt)
        with pytest.raises(UserError, match="run `split` again"):
            train(ADDRESS, Path.cwd() / "models")
    with pytest.raises(UserError, match="run `clean` again"):
        read_manifest(file.with_name("split.parquet"), "quarantine")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import fsspec

    def missing(_: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    remote._file_system.cache_clear()
    for scheme, extra in (("s3", "remote"), ("gs", "gs"), ("https", "remote")):
        assert f"uv sync --extra {extra}" in command("clean", f"{scheme}://host/flowers", "--dry-run").sentence
    remote._file_system.cache_clear()
