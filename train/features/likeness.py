"""Which pictures a bank's features call alike, for `split` to look closer at."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from curate.dataset import open_dataset
from curate.errors import UserError
from curate.printable import printable
from curate.progress import Progress, silent
from curate.splitting.scenes import Alike, FindAlike
from train.backbone_names import networks_named
from train.backbones import load_backbone
from train.device import fast_precision, require_memory, resolve_device
from train.features.bank import CLEAN, BankKey, FeatureBank
from train.features.bank_file import key_in
from train.features.extract import extract
from train.features.prepare import PictureRef

NEAREST: Final = 3
"""Pictures that each one is held against, where it is among as many nearest of theirs too.

Of 200 pairs of two shots among 1,000 pictures 99.5% are. Longer series hang together by links of each to the next.
"""

WIDER: Final = 12
"""Likewise, of pictures that show a scene which is known: of a series of many shots each is nearest to a few alone."""

_BLOCK = 1_024  # pictures compared with all at once

Floats = NDArray[np.float32]


def likeness_in(bank: Path) -> FindAlike | None:
    """Asks the bank in the folder `bank` that has features of most contents; None where there is none."""
    files = sorted(bank.glob("*.sqlite")) if bank.is_dir() else []

    def find(sha256: NDArray[np.bytes_]) -> Alike | None:
        digests = [digest.decode() for digest in sha256.tolist()]
        asked = [found for file in files if (found := _known(file, set(digests)))]
        if not asked:
            return None
        # Of two that know as many, the one with weights that were learnt.
        key, known = max(asked, key=lambda found: (len(found[1]), not found[0].architecture.startswith("florilegium:")))
        places = np.array([at for at, digest in enumerate(digests) if digest in known], np.int32)
        require_memory(len(places) * key.dim * 4, "The features", "give --bind copies, or a --models without a bank")
        with FeatureBank(bank, key) as store:
            features, there = store.read([digests[at] for at in places.tolist()], [CLEAN])
        read = there[:, 0].numpy()
        pairs, wider = mutual_neighbours(features[:, 0].to(torch.float32).numpy()[read])
        network = printable(key.architecture.partition(":")[2])
        return Alike(places[read][pairs], network, int(read.sum()), places[read][wider])

    return find if files else None


def fill_bank(root: Path, network: str, bank: Path, *, device: str = "auto", progress: Progress = silent) -> None:
    """Put the features of a dataset's pictures into the bank, as far as it lacks them; broken files are left out.

    Raises `UserError` for a network that cannot be had, and for a folder that cannot be read.
    """
    dataset = open_dataset(root)
    chosen = resolve_device(device)
    pictures = [PictureRef(dataset.root / file.path) for file in dataset.files()]
    for name in networks_named(network):
        extract(
            load_backbone(name), pictures, bank=bank, device=chosen, precision=fast_precision(chosen), progress=progress
        )


def mutual_neighbours(features: Floats) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Pairs that are among each other's `NEAREST` by cosine, and those among each other's `WIDER`, most alike first.

    Both are int32[p, 2], of features float32[n, dim].
    """
    none = np.empty((0, 2), np.int32)
    if len(features) < 2:
        return none, none
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    blocks = list(_nearest(unit))
    nearest, cosine = np.concatenate([found for found, _ in blocks]), np.concatenate([near for _, near in blocks])
    pairs, _ = _mutual(nearest[:, :NEAREST], cosine)
    wider, near = _mutual(nearest, cosine)
    return pairs, wider[np.argsort(-near, kind="stable")]


def _mutual(nearest: NDArray[np.intp], cosine: Floats) -> tuple[NDArray[np.int32], Floats]:
    """(pairs int32[p, 2] of which each names the other, their cosines)."""
    count = nearest.shape[1]
    one_way = np.column_stack([np.repeat(np.arange(len(nearest)), count), nearest.ravel()])
    pairs, first, seen = np.unique(np.sort(one_way, axis=1), axis=0, return_index=True, return_counts=True)
    both = seen == 2
    return pairs[both].astype(np.int32), cosine[:, :count].ravel()[first[both]]


def _nearest(unit: Floats) -> Iterator[tuple[NDArray[np.intp], Floats]]:
    """For a block of pictures after the other (places, cosines) of their nearest, [k, WIDER] each, nearest first."""
    most = min(WIDER, len(unit) - 1)
    for start in range(0, len(unit), _BLOCK):
        cosine = unit[start : start + _BLOCK] @ unit.T
        rows = np.arange(len(cosine))
        cosine[rows, start + rows] = -2
        places = np.argpartition(-cosine, most - 1, axis=1)[:, :most]
        near = np.take_along_axis(cosine, places, axis=1)
        order = np.lexsort((places, -near), axis=1)
        yield np.take_along_axis(places, order, axis=1), np.take_along_axis(near, order, axis=1)


def _known(file: Path, wanted: set[str]) -> tuple[BankKey, set[str]] | None:
    """The key of a bank, and those of the wanted contents that it has; None where it has none, or is no bank."""
    key = key_in(file)
    if key is None:
        return None
    try:
        with FeatureBank(file.parent, key) as store:
            known = store.views_of([CLEAN]).keys() & wanted
    except UserError:  # a cache that cannot be opened says nothing
        return None
    return (key, known) if known else None
