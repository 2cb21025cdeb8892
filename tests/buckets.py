"""An S3 server on this machine, behind a proxy that cuts connections in the middle."""

import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

KEY, SECRET = "AKIAOFNOBODY", "secretthatnobodyshallread"


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
