"""One download as a process of its own, to be killed: `python -m tests.downloading OUT URL`."""

import sys
from pathlib import Path

import httpx2

from curate.download import download
from curate.web.hosts import HostBudget
from curate.web.network import Network

if __name__ == "__main__":
    out, url = sys.argv[1:]
    port = httpx2.URL(url).port
    assert port is not None
    network = Network(loopback_ports=frozenset({port}), otherwise=HostBudget())
    print(download(url, Path(out), network=network).counts)
