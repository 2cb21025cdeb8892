"""What the bank's features say of likeness: who is proposed, by which bank, and that no bank is no reason to fail."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from curate.errors import UserError
from tests.test_bank import KEY
from tests.training_ground import grow
from train.alike import alike_in
from train.features.bank import CLEAN, BankKey, FeatureBank
from train.features.likeness import likeness_in, mutual_neighbours

DIGESTS = sorted(hashlib.sha256(bytes([number])).hexdigest() for number in range(6))


def fill(folder: Path, key: BankKey, features: dict[int, list[float]]) -> Path:
    """A bank that knows the digests with these numbers."""
    with FeatureBank(folder, key) as bank:
        bank.put([(DIGESTS[number], CLEAN, torch.tensor(one + [0.0] * 6)) for number, one in features.items()])
    return bank.file


def digests(*numbers: int) -> np.ndarray:
    return np.array([DIGESTS[number] for number in numbers], dtype="S64")


def test_neighbours_of_each_other_are_proposed_and_what_is_alone_is_not() -> None:
    """Four nearest of one point; a fifth has them for its nearest, and is none of theirs."""
    angles = np.array([0.0, 0.1, 0.2, 0.3, 1.5])
    features = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32) * np.array(
        [[3], [1], [9], [1], [2]]
    )
    pairs, wider = mutual_neighbours(features.astype(np.float32))
    assert pairs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert {*map(tuple, wider.tolist())} == {(a, b) for b in range(5) for a in range(b)}
    assert wider.tolist()[-1] == [0, 4]  # the least alike
    assert [one.tolist() for one in mutual_neighbours(features[:1].astype(np.float32))] == [[], []]


def test_the_bank_that_knows_most_is_asked(tmp_path: Path) -> None:
    fill(tmp_path, KEY, {0: [1, 0], 1: [1, 0]})
    fill(tmp_path, replace(KEY, architecture="timm:other", precision="bfloat16"), {1: [1, 0], 3: [1, 1], 4: [1, 1]})
    (tmp_path / "notes.sqlite").write_text("no bank")
    find = likeness_in(tmp_path)
    assert find is not None
    found = find(digests(1, 2, 3, 4))
    assert found is not None
    # By places in what was asked for, of which the second has no features.
    assert (found.network, found.known, found.pairs.tolist()) == ("other", 3, [[0, 2], [0, 3], [2, 3]])
    assert find(digests(2, 5)) is None


def test_without_a_bank_nothing_is_asked_and_with_a_network_it_is_filled(tmp_path: Path) -> None:
    data = grow(tmp_path / "data", {"raw": 2})
    bank = tmp_path / "models" / "bank"
    assert alike_in(bank, data, bind="near") is None
    assert not bank.exists()
    network = "scratch_cnn"
    find = alike_in(bank, data, bind="near", network=network)
    assert find is not None
    contents = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in data.rglob("*.jpg"))
    found = find(np.array(contents, dtype="S64"))
    assert found is not None
    assert (found.network, found.known) == ("scratch_cnn", len(contents))
    assert alike_in(bank, data, bind="copies") is None
    with pytest.raises(UserError, match=r"--features .*--bind copies"):
        alike_in(bank, data, bind="copies", network=network)
