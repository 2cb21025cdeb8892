"""Weights that a library downloads at their first use: whether they lie here, their licence, and what went wrong."""

import socket
import sys
import urllib.request
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import torch

from curate.errors import UserError
from curate.printable import without_escapes
from train.backbone_names import OFFLINE

T = TypeVar("T")

_LICENCES: Final = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "torchvision": "torchvision's own, BSD-3-Clause",
    "cc-by-nc-4.0": "CC BY-NC 4.0: no commercial use",
    "dinov3-license": (
        "the DINOv3 License, Meta's own, whose terms you accept by using them: "
        "https://ai.meta.com/resources/models-and-libraries/dinov3-license/"
    ),
    "fair-noncommercial-research-license": "the FAIR Noncommercial Research License: no commercial use",
}
_FREE: Final = frozenset({"apache-2.0", "mit", "bsd-3-clause", "torchvision"})
_HUB_FILES: Final = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class DownloadedWeights:
    """Weights that a library publishes, as it describes them."""

    architecture: str
    licence: str | None  # its identifier on the hub, or an address; None where the library names none
    url: str = ""  # of the file
    hub: str = ""  # of its repository on the hub, which is asked first

    def at_hand(self) -> bool:
        """Whether they lie on this machine, so that nothing is downloaded."""
        if self.hub:
            from huggingface_hub import try_to_load_from_cache

            if any(isinstance(try_to_load_from_cache(self.hub, file), str) for file in _HUB_FILES):
                return True
        return bool(self.url) and (Path(torch.hub.get_dir()) / "checkpoints" / self.url.rsplit("/", 1)[-1]).is_file()

    @property
    def is_free(self) -> bool:
        """Whether whoever has them may use them for anything, by the licence that is named."""
        return self.licence in _FREE

    def is_reachable(self) -> bool:
        """Whether there is a way to where they lie; nothing is asked of it."""
        from huggingface_hub import constants

        if self.hub:
            return not constants.HF_HUB_OFFLINE and answers(constants.ENDPOINT)
        return answers(self.url)

    def sentence(self) -> str:
        """What is said before they are downloaded."""
        named = _LICENCES.get(self.licence or "", self.licence)
        under = f"Their licence is {named}" if named else "The library names no licence of theirs"
        return f"Downloading the weights of {self.architecture}. {under}."


def of_torchvision(architecture: str, tag: Any) -> DownloadedWeights:
    """A tag of torchvision's. Where it names no licence, the weights are published under torchvision's."""
    return DownloadedWeights(architecture, tag.meta.get("license", "torchvision"), url=str(tag.url))


def of_timm(architecture: str) -> DownloadedWeights:
    """A network of timm's with its tag, or with the default one. Raises UserError where it has no weights."""
    import timm

    found = timm.get_pretrained_cfg(architecture)
    if found is None or not (found.hf_hub_id or found.url or found.file):
        raise UserError(f"timm has no weights for {architecture}: give --weights FILE, or none.")
    url = found.url[0] if isinstance(found.url, tuple) else found.url  # of several places the first is asked
    return DownloadedWeights(architecture, found.license, url=url or "", hub=found.hf_hub_id or "")


def fetched(what: DownloadedWeights, fetch: Callable[[], T]) -> T:
    """Run what downloads weights that are not at hand, after their licence was said on standard error.

    Whatever breaks on the way becomes a UserError that names a way on.
    """
    if not what.at_hand():
        sys.stderr.write(f"{what.sentence()}\n")
    if what.hub:
        _give_up_early_on_the_hub()
    # PyTorch's hub announces downloads on standard output, where answers belong
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        try:
            return fetch()
        except Exception as error:  # urllib, requests, httpx and the hub each raise their own
            reason = without_escapes((str(error).strip().splitlines() or [type(error).__name__])[0])
            raise UserError(
                f"The weights of {what.architecture} could not be downloaded ({reason}): connect to the network, "
                f"pass --weights FILE, or take --backbone {OFFLINE}, whose weights are installed already."
            ) from error


@lru_cache(maxsize=16)
def answers(address: str) -> bool:
    """Whether there is a way to the host of this address: its name resolves, or a proxy would ask for it."""
    if urllib.request.getproxies():
        return True
    try:
        return bool(socket.getaddrinfo(urlsplit(address).hostname, 443))
    except OSError:
        return False


def _give_up_early_on_the_hub() -> None:
    """Where the hub's name does not resolve, have its client take what it has or fail at once, not after 46 seconds."""
    from huggingface_hub import constants

    if not answers(constants.ENDPOINT):
        constants.HF_HUB_OFFLINE = True  # what it takes from the environment variable of this name
