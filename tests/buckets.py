"""Buckets for tests: one in memory, and one on an S3 server of this machine, behind a proxy that cuts connections."""

import hashlib
import re
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from curate.files.addresses import located
from tests.pictures import dataset, write
from tests.training_ground import TINY
from train.checkpoint import load_checkpoint
from train.optimising.settings import FitSettings
from train.training import TrainingReport, TrainOptions, train_head

ADDRESS = "s3://bucket/flowers"
THERE = located(ADDRESS)

KEY, SECRET = "AKIAOFNOBODY", "secretthatnobodyshallread"


def plant_flowers(root: Path) -> Path:
    """Two classes of ten pictures on this disk, one of them twice; and a file that is broken, and one that is none."""
    dataset(root, {"lily of Ünïcödé 百合": 10, "rose": 10})
    shutil.copy(root / "rose" / "picture 1.jpg", root / "rose" / "the same.jpg")
    write(root / "rose" / "broken.jpg", b"no picture")
    write(root / "rose" / "notes.txt", b"no picture, and not called like one")
    return root


def rows_of(name: str) -> dict[str, dict[str, str]]:
    """Path → the row of a manifest that is kept in the working folder, as any tool reads it."""
    from pyarrow import parquet

    (file,) = Path.cwd().glob(f"flowers-*.florilegium/{name}.parquet")
    return {row["path"]: row for row in parquet.read_table(file).to_pylist()}


def train_quickly(root: str | Path, models: Path) -> TrainingReport:
    """A few epochs on the tiny network."""
    options = TrainOptions(
        backbone=TINY, weights="none", models=models, device="cpu", views=1, head=FitSettings(epochs=5)
    )
    return train_head(located(root), options)


def head_of(report: TrainingReport) -> dict[str, torch.Tensor]:
    """The weights of the head in a checkpoint."""
    return dict(load_checkpoint(report.checkpoint).head.state_dict())


class MemoryBucket:
    """fsspec's own file system in memory, under addresses of s3://, with tags as a bucket has them.

    Processes that are forked read what is there at that time.
    """

    def __init__(self) -> None:
        from fsspec.implementations.memory import MemoryFileSystem

        self._files = MemoryFileSystem()
        self._files.store.clear()
        self._files.pseudo_dirs[:] = [""]

    def fill(self, root: Path, prefix: str) -> None:
        """Upload a folder."""
        for file in sorted(root.rglob("*")):
            if file.is_file():
                self.put(f"{prefix}/{file.relative_to(root).as_posix()}", file.read_bytes())

    def put(self, key: str, data: bytes) -> None:
        self._files.pipe_file(f"/bucket/{key}", data)

    def delete(self, key: str) -> None:
        self._files.rm_file(f"/bucket/{key}")

    def get(self, key: str) -> bytes:
        data: bytes = self._files.cat_file(f"/bucket/{key}")
        return data

    def tags(self, prefix: str = "") -> dict[str, str]:
        """Key → ETag of every object."""
        found = self.find("s3://bucket") if self._files.exists("/bucket") else {}
        keys = {name.removeprefix("bucket/"): about["ETag"] for name, about in found.items()}
        return {key: tag for key, tag in keys.items() if key.startswith(prefix)}

    # What `curate.files.remote` asks a file system for

    def _strip_protocol(self, name: str) -> str:
        return name.removeprefix("s3://").rstrip("/")

    def _place(self, name: str) -> str:
        return f"/{self._strip_protocol(name)}"

    def info(self, name: str) -> dict[str, Any]:
        about = dict(self._files.info(self._place(name)))
        if about["type"] == "file":
            about["ETag"] = hashlib.md5(self._files.cat_file(self._place(name))).hexdigest()
            about["LastModified"] = about["created"]
        return about

    def find(self, name: str, **_: bool) -> dict[str, dict[str, Any]]:
        return {one.lstrip("/"): self.info(one.lstrip("/")) for one in self._files.find(self._place(name))}

    def isdir(self, name: str) -> bool:
        return bool(self._files.isdir(self._place(name)))

    def cat_file(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        data: bytes = self._files.cat_file(self._place(name), start=start, end=end)
        return data

    def pipe_file(self, name: str, data: bytes) -> None:
        self._files.pipe_file(self._place(name), data)

    def put_file(self, file: str, name: str) -> None:
        self.pipe_file(name, Path(file).read_bytes())


class CuttingProxy:
    """Passes bytes on to a server, and back; of answers to some requests only the beginning."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.asked: Counter[str] = Counter()  # "GET /bucket/key" → how often
        self.cut: Counter[str] = Counter()
        self._pattern: re.Pattern[str] | None = None
        self._most = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_once(self, pattern: str) -> None:
        """Cut the first answer to each request that matches, as "GET /bucket/a.jpg" does."""
        self._pattern, self._most = re.compile(pattern), 1

    def cut_always(self, pattern: str) -> None:
        """Cut every such answer."""
        self._pattern, self._most = re.compile(pattern), 1 << 30

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._upstream)
                doomed = threading.Event()
                for source, to, is_request in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass_on, args=(source, to, is_request, doomed), daemon=True).start()

    def _pass_on(self, source: socket.socket, to: socket.socket, is_request: bool, doomed: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if is_request and (found := re.match(rb"([A-Z]+ [^ ?]+)", data)):
                    self._note(found[1].decode(), doomed)
                if not is_request and doomed.is_set():
                    to.sendall(data[: len(data) - len(data) // 3])
                    break
                to.sendall(data)
        for one in (source, to):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _note(self, request: str, doomed: threading.Event) -> None:
        with self._lock:
            self.asked[request] += 1
            if self._pattern and self._pattern.fullmatch(request) and self.cut[request] < self._most:
                self.cut[request] += 1
                doomed.set()


class Bucket:
    """A bucket on the server, and what a program needs to read it."""

    def __init__(self, proxy: CuttingProxy, client: Any) -> None:
        self.proxy, self._client = proxy, client
        self.environment: dict[str, Any] = {
            "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": proxy.url, "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    def fill(self, root: Path, prefix: str) -> None:
        """Upload a folder."""
        for file in sorted(root.rglob("*")):
            if file.is_file():
                self.put(f"{prefix}/{file.relative_to(root).as_posix()}", file.read_bytes())

    def put(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket="bucket", Key=key, Body=data)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket="bucket", Key=key)

    def get(self, key: str) -> bytes:
        data: bytes = self._client.get_object(Bucket="bucket", Key=key)["Body"].read()
        return data

    def tags(self, prefix: str = "") -> dict[str, str]:
        """Key → ETag of every object."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
        return {one["Key"]: one["ETag"] for page in pages for one in page.get("Contents", ())}


@contextmanager
def bucket_server() -> Iterator[Bucket]:
    """The server, its proxy and a bucket that is called "bucket"."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    proxy = CuttingProxy((host, port))
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )  # fmt: skip
    try:
        client.create_bucket(Bucket="bucket")
        yield Bucket(proxy, client)
    finally:
        client.close()
        proxy.close()
        server.stop()
