"""A dataset with known faults, and the review page's server as `cli.py review` starts it, in a process of its own."""

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.pictures import encoded, scene

REPOSITORY = Path(__file__).resolve().parent.parent


def garden(root: Path) -> Path:
    """Two classes with two pairs of copies, one picture under two labels, one broken file and one dark picture."""
    for at, label in enumerate(("rose", "tulip")):
        folder = root / "raw" / label
        folder.mkdir(parents=True)
        for number in range(5):
            (folder / f"{number}.jpg").write_bytes(encoded(scene(10 * at + number), quality=92))
    rose, tulip = root / "raw" / "rose", root / "raw" / "tulip"
    (rose / "copy.jpg").write_bytes((rose / "1.jpg").read_bytes())
    (rose / "small.jpg").write_bytes(encoded(scene(2).resize((120, 80)), quality=92))
    (tulip / "stray.jpg").write_bytes((rose / "3.jpg").read_bytes())
    (tulip / "broken.jpg").write_bytes((rose / "4.jpg").read_bytes()[:700])
    (tulip / "dark.jpg").write_bytes(encoded(scene(77).point(lambda level: level // 12), quality=92))
    return root


@dataclass
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A running `cli.py review`."""

    process: "subprocess.Popen[str]"
    port: int
    token: str
    said: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, data: Path, *options: str, before: Callable[[], None] | None = None) -> "Served":
        """Run the command; `before` is called in its process before it starts."""
        process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "cli.py"), "review", str(data), "--no-open", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=data.parent,
            preexec_fn=before,
        )  # fmt: skip
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line)
            if found:
                return cls(process, int(found[1]), found[2], said)
        assert process.stderr is not None
        raise AssertionError(f"it ended with {process.wait()}: {said} {process.stderr.read()}")

    def ask(
        self, path: str, *, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request, with the token unless `headers` say otherwise; the path goes as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"authorization": f"Bearer {self.token}", **(headers or {})}
        connection.putrequest(method, path, skip_host="host" in sent, skip_accept_encoding=True)
        for name, value in sent.items():
            if value:
                connection.putheader(name, value)
        if body is not None and "content-length" not in sent:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        found = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def get(self, path: str, **query: object) -> Any:
        """The JSON of an address that answers with 200."""
        parts = "&".join(f"{name.rstrip('_')}={quote(str(value))}" for name, value in query.items())
        answer = self.ask(f"{path}?{parts}" if parts else path)
        assert answer.status == 200, (path, answer.status, answer.body[:300])
        return answer.json

    def post(self, path: str, value: object, status: int = 200) -> Any:
        """The JSON of what was sent; asserts the status."""
        body = json.dumps(value).encode()
        answer = self.ask(path, method="POST", body=body, headers={"content-type": "application/json"})
        assert answer.status == status, (path, answer.status, answer.body[:300])
        return answer.json

    def queue(self, name: str, **query: object) -> dict[str, Any]:
        """Path → item, in the queue's order."""
        return {item["path"]: item for item in self.get(f"/api/queue/{name}", **query)["items"]}

    def decide(self, items: Any, action: str, queue: str, status: int = 200, **more: object) -> Any:
        """Decide on items as the page does: with the batches that it shows."""
        listed = items if isinstance(items, list) else [items]
        seen = {item["id"]: item["decision"]["batch"] for item in listed if item["decision"]}
        wanted = {"ids": [item["id"] for item in listed], "action": action, "queue": queue, "seen": seen, **more}
        return self.post("/api/decide", wanted, status)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self._end()

    def stop(self) -> int:
        """End it with SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._end()

    def _end(self) -> int:
        code = self.process.wait(30)
        assert self.process.stderr is not None
        assert "Traceback" not in self.process.stderr.read()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code
