# SPDX-License-Identifier: Apache-2.0
"""What a network is trained for: the targets, the loss and the score of a recipe's task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..deploy.errors import UsageError
from .data import Data, Pair, batches

Net = Callable[[Tensor], Tensor]


def on_device(found: Iterable[Pair], device: torch.device | str) -> Iterator[Pair]:
    """Mini-batches, moved where the network is."""
    for x, y in found:
        yield x.to(device), y.to(device)


class Task:
    """Scores of classes, one set a sample: the usual classifier.

    Attributes:
        name: as a recipe says it.
        metric: what ``percent`` is, for people.
        signal: what a probe's output is compared by (`search.bit_worth`).
        soft: whether outputs are scores of classes, which label smoothing and teachers understand.
        augments: whether images may be moved without their labels.
    """

    name = "classify"
    metric = "accuracy"
    signal = "kl"
    soft = True
    augments = True

    def shape(self, x: Tensor, classes: int) -> tuple[int, ...]:
        """Shape of the output for a batch."""
        return (len(x), classes)

    def check_labels(self, data: Data) -> None:
        """Refuse data with other labels.

        Raises:
            UsageError: says which task the labels are for.
        """
        if data.train[1].dim() != 1:
            raise UsageError(
                f"task: {self.name} with {data.name} found, whose labels are maps of "
                f"{tuple(data.train[1].shape[1:])}; task = 'segment' takes these"
            )

    def targets(self, x: Tensor, y: Tensor, classes: int) -> Tensor:
        """What the loss compares with: class probabilities on axis 1, float32."""
        return F.one_hot(y, classes).float()

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of a mini-batch."""
        return F.cross_entropy(output, targets)

    def soft_targets(self, output: Tensor) -> Tensor:
        """Targets that a teacher's output stands for."""
        return output.softmax(1)

    def total(self, output: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
        """(sum of the losses, number of terms) for labels as the data hold them."""
        return F.cross_entropy(output, y, reduction="sum"), y.numel()

    @torch.no_grad()
    def score(
        self, run: Net, pair: Pair, device: torch.device | str = "cpu"
    ) -> tuple[float, float]:
        """(score in percent, mean loss) over a split; NaN without samples.

        Args:
            run: the network.
            pair: inputs and labels.
            device: where the network is.
        """
        correct, loss, count = 0, 0.0, 0
        for x, y in on_device(batches(pair, 256), device):
            output = run(x)
            correct += int((output.argmax(1) == y).sum())
            part, terms = self.total(output.double(), x, y)
            loss, count = loss + float(part), count + terms
        return (100.0 * correct / count, loss / count) if count else (float("nan"), float("nan"))


class Segment(Task):
    """Scores of classes for every pixel; scored by the mean intersection over union."""

    name = "segment"
    metric = "mean IoU"
    augments = False

    def shape(self, x: Tensor, classes: int) -> tuple[int, ...]:
        """See `Task.shape`."""
        return (len(x), classes, *x.shape[2:])

    def check_labels(self, data: Data) -> None:
        """See `Task.check_labels`."""
        maps = data.train[1].dim() == 3
        if not maps or data.train[1].shape[1:] != data.train[0].shape[2:]:
            raise UsageError(
                f"task: segment with {data.name} found, which has no label for every pixel; "
                "digits_scenes has; choose it or another task"
            )

    def targets(self, x: Tensor, y: Tensor, classes: int) -> Tensor:
        """See `Task.targets`."""
        return F.one_hot(y, classes).movedim(-1, 1).float()

    @torch.no_grad()
    def score(
        self, run: Net, pair: Pair, device: torch.device | str = "cpu"
    ) -> tuple[float, float]:
        """See `Task.score`; the mean is over classes that occur."""
        both, either, loss, count = Tensor(), Tensor(), 0.0, 0
        for x, y in on_device(batches(pair, 256), device):
            output = run(x)
            part, terms = self.total(output.double(), x, y)
            loss, count = loss + float(part), count + terms
            found, wanted = (F.one_hot(c, output.shape[1]).flatten(0, -2).bool()
                             for c in (output.argmax(1), y))  # fmt: skip
            meet, join = (found & wanted).sum(0), (found | wanted).sum(0)
            both, either = (meet, join) if not len(both) else (both + meet, either + join)
        if not count:
            return float("nan"), float("nan")
        union = either.double()
        return 100.0 * float((both[union > 0] / union[union > 0]).mean()), loss / count


class Reconstruct(Task):
    """The input again; scored by the explained part of its variance."""

    name = "reconstruct"
    metric = "explained variance"
    signal = "squares"
    soft = False

    def shape(self, x: Tensor, classes: int) -> tuple[int, ...]:
        """See `Task.shape`."""
        return tuple(x.shape)

    def check_labels(self, data: Data) -> None:
        """Any labels will do: they are not looked at."""

    def targets(self, x: Tensor, y: Tensor, classes: int) -> Tensor:
        """See `Task.targets`."""
        return x

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(output, targets)

    def soft_targets(self, output: Tensor) -> Tensor:
        """See `Task.soft_targets`."""
        return output

    def total(self, output: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
        """See `Task.total`."""
        return (output - x).square().sum(), x.numel()

    @torch.no_grad()
    def score(
        self, run: Net, pair: Pair, device: torch.device | str = "cpu"
    ) -> tuple[float, float]:
        """See `Task.score`; the variance is about the mean of every input."""
        error, count = 0.0, 0
        for x, y in on_device(batches(pair, 256), device):
            part, terms = self.total(run(x).double(), x.double(), y)
            error, count = error + float(part), count + terms
        if not count:
            return float("nan"), float("nan")
        spread = float((pair[0].double() - pair[0].double().mean(0)).square().sum())
        return 100.0 * (1 - error / spread), error / count


TASKS: dict[str, Task] = {task.name: task for task in (Task(), Segment(), Reconstruct())}


def check_task(task: Task, augment: str, smoothing: float) -> None:
    """Refuse settings that a task cannot have.

    Raises:
        UsageError: all of them at once.
    """
    problems = []
    if augment != "none" and not task.augments:
        problems.append(f"data.augment = {augment!r} would move images without their labels")
    if smoothing > 0 and not task.soft:
        problems.append("label_smoothing needs classes")
    if problems:
        raise UsageError(
            f"task: {task.name} found; {'; '.join(problems)}; switch that off or choose another "
            "task"
        )
