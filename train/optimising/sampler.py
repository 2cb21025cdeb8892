"""Class-balanced sampling: torchsampler's sampler, with a seed, its labels given, and its coverage known."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence

import torch

with warnings.catch_warnings():
    # torchsampler 0.1.2 reads its own version in a way that it warns of itself
    warnings.filterwarnings("ignore", message="Use importlib.metadata", category=DeprecationWarning)
    from torchsampler import ImbalancedDatasetSampler


class ClassBalancedSampler(ImbalancedDatasetSampler):  # type: ignore[misc]
    """Draw pictures with replacement, each class as often as the next, or only nearer to that.

    `balance` tempers it: a picture of a class of n weighs n**-balance. 1 is torchsampler as it is; 0 is a plain
    shuffle, every picture once an epoch.

    torchsampler guesses labels from the dataset's type, pairs weights with unsorted indices wrongly, and draws from
    PyTorch's global generator. Here labels are given, indices are sorted, and every epoch has its own generator: the
    draws of an epoch follow from (seed, epoch) alone, so a resumed run draws what an undisturbed one would have.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        seed: int,
        balance: float = 1.0,
        indices: Sequence[int] | None = None,
        num_samples: int | None = None,
    ) -> None:
        """`labels` covers the whole dataset; `indices` chooses a part of it; `num_samples` is an epoch's length."""
        chosen = sorted(range(len(labels)) if indices is None else indices)
        if not chosen:
            raise ValueError("there is nothing to sample from")
        if len(set(chosen)) != len(chosen) or chosen[0] < 0 or chosen[-1] >= len(labels):
            raise ValueError("indices must be distinct positions in labels")
        drawn_from = [int(labels[index]) for index in chosen]
        super().__init__(dataset=None, labels=drawn_from, indices=chosen, num_samples=num_samples)
        self.class_counts = Counter(drawn_from)
        self.balance = balance
        if balance != 1:
            self.weights: torch.Tensor = self.weights**balance
        self.seed = seed
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        return iter(self.draw(self.epoch).tolist())

    def set_epoch(self, epoch: int) -> None:
        """Choose which epoch's draws the next iteration gives."""
        self.epoch = epoch

    def draw(self, epoch: int) -> torch.Tensor:
        """The positions of one epoch, int64 (num_samples,)."""
        generator = torch.Generator().manual_seed(_mixed(self.seed, epoch))
        if self.balance == 0 and self.num_samples == len(self.indices):
            picks = torch.randperm(self.num_samples, generator=generator)
        else:
            picks = torch.multinomial(self.weights, self.num_samples, replacement=True, generator=generator)
        return torch.as_tensor(self.indices, dtype=torch.int64)[picks]

    @property
    def is_balanced(self) -> bool:
        """All classes are of one size, so balancing changes nothing but draws with replacement."""
        return len(set(self.class_counts.values())) == 1

    def coverage(self, epoch: int = 0) -> float:
        """Share of the pictures that an epoch shows at least once, 0 to 1; the rest wait for a later epoch."""
        return len(set(self.draw(epoch).tolist())) / len(self.indices)


def _mixed(seed: int, epoch: int) -> int:
    # Neighbouring seeds and epochs must not share a stream: (seed 1, epoch 0) is not (seed 0, epoch 1)
    return (seed * 1_000_003 + epoch) % (1 << 63)
