"""The loop that fits a classifier, step by step; stopped at any instant, it goes on bit for bit."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional

from curate.errors import UserError
from curate.progress import Progress, silent
from train.device import Arriving, is_out_of_memory
from train.features.compiling import CompiledSteps
from train.optimising.balance import Objective
from train.optimising.dealing import deal_shards, dealt
from train.optimising.distributed import Processes
from train.optimising.ema import WeightAverage
from train.optimising.graphed_step import Batch, GraphedStep
from train.optimising.mixing import Mix, draw_mix
from train.optimising.optimiser import ParameterGroup, make_optimizer, replace_parameter, set_rates
from train.optimising.sampler import ClassBalancedSampler
from train.optimising.schedule import Schedule
from train.optimising.settings import FitSettings, Keep
from train.optimising.unfinished import UnfinishedRun
from train.options import Precision


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures; those of valid are None where there was nothing to measure on."""

    number: int  # from 1
    loss: float  # mean over the samples drawn: their sum divided by their number
    train_accuracy: float  # share right among the samples drawn, while the weights still moved
    valid_accuracy: float | None
    valid_loss: float | None = None
    learning_rate: float = 0.0  # of the head, at the epoch's last step
    plain_loss: float | None = None  # as `loss`, without smoothing, weights or mixing: what valid's is measured as


def best_epoch(history: Sequence[Epoch], keep: Keep) -> Epoch | None:
    """The epoch whose weights `keep` saves, the first of equals; None where none is better on valid than the last."""
    if keep == "last" or not history:
        return None
    merits = [_merit(keep, epoch.valid_accuracy, epoch.valid_loss) for epoch in history]
    best = merits.index(max(merits))
    return history[best] if merits[best] > merits[-1] else None


def _merit(keep: Keep, accuracy: float | None, loss: float | None) -> float:
    """What makes an epoch better than another; -inf where it was not measured, or its loss is no number."""
    figure = accuracy if keep == "best" else None if loss is None else -loss
    return -math.inf if figure is None or math.isnan(figure) else figure


@dataclass(frozen=True)
class Measured:
    """What valid says: counts and sums, so that several processes can add theirs up."""

    n: int
    correct: int
    loss: float  # sum over the samples


class InputLoader(Protocol):
    """Where a step's inputs come from."""

    def inputs(self, epoch: int, drawn: torch.Tensor, parts: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The inputs of each part, (len(part), …).

        `drawn` (M,) int64 are positions of samples; each of `parts` (n,) int64 are places in `drawn`.
        """
        ...


@dataclass(frozen=True)
class Change:
    """What happens to the model before an epoch, once: its inputs have another size from then on.

    `make`(model) does it, and may put other parameters in the place of some, under the same names.
    """

    since: int  # epochs before it, 1 or more
    make: Callable[[nn.Module], None]


@dataclass(frozen=True)
class Work:
    """What is to be fitted, on what, and where."""

    model: nn.Module  # inputs → logits; its `train()` leaves what is frozen in eval mode
    groups: Sequence[ParameterGroup]
    loader: InputLoader
    targets: torch.Tensor  # (N,) int64 class indices
    classes: int
    validate: Callable[[nn.Module], Measured] | None = None  # called in eval mode, without gradients
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = "float32"
    title: str = "Training"
    compiled: CompiledSteps | None = None  # of the model: what the batches of a whole step go through
    change: Change | None = None
    shards: torch.Tensor | None = None  # (N,) int64 number of the shard of each sample, where they lie in shards


class Fitting:
    """Fits `work` as `settings` say. All that a step draws follows from (seed, step), so there is no hidden state.

    With `unfinished`, what was done is kept there now and then, and a new `Fitting` of the same work goes on from it:
    on one CPU process the result has the same bits as if nothing had happened.
    """

    def __init__(
        self,
        work: Work,
        settings: FitSettings,
        *,
        seed: int = 0,
        processes: Processes | None = None,
        unfinished: UnfinishedRun | None = None,
        watch: Callable[[Epoch], None] | None = None,
    ) -> None:
        self.work, self.settings, self.seed = work, settings, seed
        self.processes = processes or Processes()
        self.unfinished = unfinished
        self.watch = watch
        power = settings.balance if settings.balance_by == "sampling" else 0.0
        self.sampler = ClassBalancedSampler(work.targets.tolist(), seed=seed, balance=power)
        steps = _steps_of(len(self.sampler), settings)
        self.steps_an_epoch, self._whole = len(steps), len(steps[0])
        self.steps = settings.steps or settings.epochs * self.steps_an_epoch
        self.epochs = epochs_of(len(self.sampler), settings)
        self.optimizer = make_optimizer(work.groups, settings)
        self.schedule = Schedule(settings, self.steps_an_epoch, self.steps)
        counts = torch.bincount(work.targets, minlength=work.classes)
        self.objective = Objective(counts.tolist(), settings).to(work.device)
        self.parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        self.average = WeightAverage(self.parameters, settings.ema) if settings.ema else None
        self.history: list[Epoch] = []
        self.resumed = False
        self.pictures_at_once = settings.batch
        self._epoch, self._step = 0, 0  # the next step's
        self._sums = [0.0, 0.0, 0.0, 0.0]  # loss, right, samples, plain loss of this epoch so far
        self._waiting: list[_Figures] = []  # of the last step, where the device works while this process goes on
        on_cuda = work.device.type == "cuda"
        self._ahead = on_cuda and self.processes.count == 1
        self._graphed = GraphedStep(self._compute, self.parameters, work.device) if on_cuda else None
        self._best: dict[str, torch.Tensor] = {}
        self._changed = False

    def run(self, progress: Progress = silent) -> list[Epoch]:
        """Fit to the end, leave the model in eval mode with the weights to keep, and return every epoch's figures."""
        self._resume()
        devices = [self.work.device] if self.work.device.type == "cuda" else []
        with torch.random.fork_rng(devices), progress(self.work.title, self.steps) as advance:
            advance(self._epoch * self.steps_an_epoch + self._step)
            while not self._finished():
                self._run_epoch(advance)
        if self._best:
            self._restore(self._best)
        elif self.average:
            self.average.copy_into_parameters()
        self.work.model.eval()
        return self.history

    @property
    def notes(self) -> list[str]:
        """Sentences the user should read."""
        notes = ["It went on from where an earlier run was stopped."] if self.resumed else []
        if self.pictures_at_once < self.settings.batch:
            notes.append(
                f"Memory ran out at {self.settings.batch} pictures a batch: {self.pictures_at_once} went through at "
                f"once, with as many more batches a step."
            )
        if self.unfinished and self.unfinished.failed:
            notes.append(self.unfinished.failed)
        return notes

    def _finished(self) -> bool:
        if self._epoch >= self.epochs:
            return True
        patience = self.settings.early_stop
        shares = [epoch.valid_accuracy for epoch in self.history if epoch.valid_accuracy is not None]
        return bool(patience and shares and len(shares) - 1 - shares.index(max(shares)) >= patience)

    def _drawn(self, epoch: int) -> torch.Tensor:
        """The positions of an epoch's samples, int64 (M,), in the order in which they are taken."""
        drawn, shards, count = self.sampler.draw(epoch), self.work.shards, self.processes.count
        if shards is None or count == 1:
            return drawn
        owner = torch.tensor(deal_shards(torch.bincount(shards).tolist(), count))[shards]
        return dealt(drawn, owner, _steps_of(len(drawn), self.settings), count)

    def _run_epoch(self, advance: Callable[[int], None]) -> None:
        drawn = self._drawn(self._epoch)
        steps = _steps_of(len(drawn), self.settings)[: self.steps - self._epoch * self.steps_an_epoch]
        parts = [self.processes.share(step) for step in steps[self._step :]]
        self.work.model.train()
        for step, part, inputs in zip(
            steps[self._step :], parts, self.work.loader.inputs(self._epoch, drawn, parts), strict=True
        ):
            number = self._epoch * self.steps_an_epoch + self._step
            rate = self.settings.learning_rate * self.schedule.factor(number)
            set_rates(self.optimizer, rate)
            figures = self._take_step(inputs, self.work.targets[drawn[part]], number, len(step))
            self._account()  # for the step before: the device computes this one meanwhile
            self._waiting.append(figures)
            self._step += 1
            advance(1)
            if not self._ahead or self._step == len(steps):
                self._account()
            if self._step == len(steps):
                self._end_epoch(rate)
            if self.unfinished and self.processes.first and self.unfinished.due():
                self._account()
                self.unfinished.save(self._state())

    def _account(self) -> None:
        """Add the figures of the steps that wait for it to the epoch's; raises UserError where a loss is no number."""
        while self._waiting:
            figures = self._waiting.pop(0)
            loss, right, plain = self.processes.sum(figures.sums.wait().tolist())
            if not math.isfinite(loss):
                raise UserError(
                    f"The loss became {loss} in epoch {self._epoch + 1}: a lower --learning-rate is needed."
                )
            new = (loss, right, figures.samples, plain)
            self._sums = [before + now for before, now in zip(self._sums, new, strict=True)]

    def _take_step(self, inputs: torch.Tensor, targets: torch.Tensor, number: int, samples: int) -> "_Figures":
        """One step of the optimiser; returns what it says of this process's samples."""
        seed = _mixed(self.seed, number, self.processes.rank)
        mix = draw_mix(self.settings, inputs, seed)
        while True:
            try:
                figures = _Figures(Arriving(self._gradients(inputs, targets, mix, seed, samples)), samples)
                break
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                at_once = min(self.pictures_at_once, len(inputs))
                if at_once == 1:
                    raise UserError(
                        f"One picture alone does not fit the memory of {self.work.device}: choose a smaller --backbone."
                    ) from error
                self.pictures_at_once = math.ceil(at_once / 2)
                if self._graphed:
                    self._graphed.forget()
            if self.work.device.type == "cuda":
                torch.cuda.empty_cache()
        self.processes.sum_gradients(self.parameters)
        if self.settings.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.optimizer.step()
        if self.average:
            self.average.update()
        return figures

    def _gradients(
        self, inputs: torch.Tensor, targets: torch.Tensor, mix: Mix | None, seed: int, samples: int
    ) -> torch.Tensor:
        """Add up the gradients of this process's samples, so many at once as fit; `samples` are those of all.

        Returns the sums of the losses, of the right answers and of the plain cross-entropies, (3,) on the device.
        """
        _seed_dropout(seed, self.work.device)
        self.optimizer.zero_grad()
        # Of so few numbers CUDA keeps its own copy at once; without the word it would finish all its work first
        on_cuda = self.work.device.type == "cuda"
        inputs, targets = (one.to(self.work.device, non_blocking=on_cuda) for one in (inputs, targets))
        slices = _slices(len(inputs), self.pictures_at_once)
        compute = self._graphed if self._graphed and len(slices) == 1 else self._compute
        exact = torch.float32 if self.work.device.type == "mps" else torch.float64
        figures = torch.zeros(3, dtype=exact, device=self.work.device)
        for rows in slices:
            batch: Batch = (inputs[rows], targets[rows], _number(samples, self.work.device))
            if mix is not None:
                others = targets[mix.partner[rows].to(self.work.device, non_blocking=on_cuda)]
                batch = (mix.apply(inputs, rows), *batch[1:], others, _number(mix.kept, self.work.device))
            figures += compute(batch).to(exact)
        return figures

    def _compute(self, batch: Batch) -> torch.Tensor:
        """Add to the gradients what one batch says: its inputs and targets, the step's samples, and how it is mixed.

        Returns the sums of the losses, of the right answers and of the plain cross-entropies, (3,) on the device.
        """
        inputs, targets, samples, *mixed = batch
        compiled = self.work.compiled if len(inputs) in self._sizes() else None
        with compiled.compiling() if compiled else nullcontext():
            with torch.autocast(self.work.device.type, torch.bfloat16, enabled=self.work.precision == "bfloat16"):
                logits = (compiled or self.work.model)(inputs)
            losses = self.objective(logits, targets)
            if mixed:
                others, kept = mixed
                losses = kept * losses + (1 - kept) * self.objective(logits, others)
            torch.autograd.backward(losses.sum() / samples)
        said = logits.detach().to(torch.float32)
        right = (said.argmax(dim=1) == targets).sum()
        plain = functional.cross_entropy(said, targets, reduction="sum")
        return torch.stack([losses.detach().sum(), right.to(losses.dtype), plain.to(losses.dtype)])

    def _sizes(self) -> set[int]:
        """Of the batches that a whole step goes through in; those of a shorter one are not worth compiling for.

        They follow from the settings and from what has fitted into memory, not from what came first: a run that goes on
        in the middle of an epoch compiles what the undisturbed one would have.
        """
        mine = len(self.processes.share(torch.arange(self._whole)))
        return {rows.stop - rows.start for rows in _slices(mine, self.pictures_at_once)}

    def _end_epoch(self, rate: float) -> None:
        loss, right, samples, plain = self._sums
        self.processes.average(_moving_buffers(self.work.model))
        accuracy, valid_loss = self._measure()
        self.history.append(
            Epoch(self._epoch + 1, loss / samples, right / samples, accuracy, valid_loss, rate, plain / samples)
        )
        self.schedule.end_epoch(valid_loss)
        self._epoch, self._step, self._sums = self._epoch + 1, 0, [0.0, 0.0, 0.0, 0.0]
        self._change_for(self._epoch)
        if self.watch and self.processes.first:
            self.watch(self.history[-1])

    def _change_for(self, epoch: int) -> None:
        """Make the work's change, if it is due by this epoch; what is kept of a run is always of after it."""
        change = self.work.change
        if change is None or self._changed or epoch < change.since:
            return
        before, averaged = dict(self.work.model.named_parameters()), dict[str, nn.Parameter]()
        if self.average:
            with self.average.in_place():
                twin = copy.deepcopy(self.work.model)
            change.make(twin)
            averaged = dict(twin.named_parameters())
        change.make(self.work.model)
        for name, new in self.work.model.named_parameters():
            if new is before[name]:
                continue
            new.requires_grad_(before[name].requires_grad)
            if new.requires_grad:
                self._put_in_place_of(before[name], new, averaged.get(name))
        self._changed, self._best = True, {}
        if self._graphed:
            self._graphed.forget()

    def _put_in_place_of(self, old: nn.Parameter, new: nn.Parameter, mean: torch.Tensor | None) -> None:
        replace_parameter(self.optimizer, old, new)
        self.parameters[next(at for at, one in enumerate(self.parameters) if one is old)] = new
        if self.average and mean is not None:
            self.average.replace(old, new, mean)

    @torch.no_grad()
    def _measure(self) -> tuple[float | None, float | None]:
        """Accuracy and mean loss on valid, of the weights that would be kept; also remembers the best."""
        if self.work.validate is None:
            return None, None
        if self.average:
            with self.average.in_place():
                return self._measure_weights()
        return self._measure_weights()

    def _measure_weights(self) -> tuple[float | None, float | None]:
        assert self.work.validate is not None
        self.work.model.eval()
        found = self.work.validate(self.work.model)
        self.work.model.train()
        n, correct, loss = self.processes.sum([found.n, found.correct, found.loss])
        if not n:
            return None, None
        keep = self.settings.keep
        # What was measured at another size is no figure of these weights' kind
        alike = self.history[self.work.change.since if self.work.change and self._changed else 0 :]
        before = (_merit(keep, epoch.valid_accuracy, epoch.valid_loss) for epoch in alike)
        if keep != "last" and _merit(keep, correct / n, loss / n) > max(before, default=-math.inf):
            self._best = {name: value.detach().cpu().clone() for name, value in self._changing().items()}
        return correct / n, loss / n

    def _changing(self) -> dict[str, torch.Tensor]:
        """The tensors that training changes, by name: what does not train is not worth keeping twice."""
        training = self.work.model.training
        self.work.model.train()
        buffers = {id(buffer) for buffer in _moving_buffers(self.work.model)}
        self.work.model.train(training)
        moving = {id(parameter) for parameter in self.parameters} | buffers
        return {
            name: value for name, value in self.work.model.state_dict(keep_vars=True).items() if id(value) in moving
        }

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self._epoch,
            "step": self._step,
            "sums": self._sums,
            "pictures_at_once": self.pictures_at_once,
            "history": [asdict(epoch) for epoch in self.history],
            "model": {name: value.detach() for name, value in self._changing().items()},
            "best": self._best,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": self.average.state_dict() if self.average else None,
        }

    def _resume(self) -> None:
        state = self.unfinished.load() if self.unfinished else None
        # Nobody may write before all have read
        self.processes.wait()
        if state is None:
            return
        try:
            self._go_on_from(state)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            assert self.unfinished is not None
            raise UserError(
                f"{self.unfinished.file} is not the state of this unfinished run, though it says so: remove it, and "
                f"run the same command again."
            ) from error

    def _go_on_from(self, state: dict[str, Any]) -> None:
        self._change_for(state["epoch"])
        self._restore(state["model"])
        self._best = state["best"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self._epoch, self._step, self._sums = state["epoch"], state["step"], list(state["sums"])
        self.pictures_at_once = state["pictures_at_once"]
        self.resumed = True
        if self.watch and self.processes.first:
            for epoch in self.history:  # the curves of a resumed run begin at its beginning
                self.watch(epoch)

    @torch.no_grad()
    def _restore(self, values: dict[str, torch.Tensor]) -> None:
        for name, tensor in self._changing().items():
            tensor.copy_(values[name])


@dataclass(frozen=True)
class _Figures:
    """What a step says."""

    sums: Arriving  # (3,): of losses, right answers and plain cross-entropies, of this process's samples
    samples: int  # of all processes


def epochs_of(samples: int, settings: FitSettings) -> int:
    """How many epochs a fit has, the last of which `steps` may cut short, where an epoch draws so many samples."""
    return math.ceil(settings.steps / len(_steps_of(samples, settings))) if settings.steps else settings.epochs


def _steps_of(samples: int, settings: FitSettings) -> list[torch.Tensor]:
    """Places in an epoch's draws, step by step; a last one of one sample joins the one before: batch-norm needs two."""
    steps = list(torch.split(torch.arange(samples), settings.batch * settings.accumulate))
    if len(steps) > 1 and len(steps[-1]) == 1:
        steps[-2:] = [torch.cat(steps[-2:])]
    return steps


def _number(value: float, device: torch.device) -> torch.Tensor:
    """One number there, float32 (); a GPU is not waited for."""
    return torch.tensor(value, dtype=torch.float32).to(device, non_blocking=device.type == "cuda")


def _slices(samples: int, most: int) -> list[slice]:
    """As few slices of at most `most` as will do, even in size, so that none is left with a single sample.

    Three by two are one slice of three: batch-norm needs two in each.
    """
    count = math.ceil(samples / most)
    if most > 1 and count > 1 and samples // count < 2:
        count = samples // 2
    edges = [samples * number // count for number in range(count + 1)] if count else []
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _moving_buffers(model: nn.Module) -> list[torch.Tensor]:
    """Buffers of the modules that are in train mode, such as running means."""
    return [buffer for module in model.modules() if module.training for buffer in module.buffers(recurse=False)]


def _seed_dropout(seed: int, device: torch.device) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _mixed(seed: int, step: int, rank: int) -> int:
    return ((seed * 1_000_003 + step) * 4096 + rank) % (1 << 63)
