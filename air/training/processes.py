"""Several processes that train one model: each takes its share of a batch; gradients are summed.

A step is the same however many processes share it: they start with the same weights, the first
process's; each draws its own noise; the gradients of their shares, which are sums over images, add
up to that of the whole batch; and every process takes the same step with the sum.

PyTorch's `DistributedDataParallel` is not used, because it sees gradients only while autograd's
backward runs. Played-back recordings and CUDA graphs (`air.acceleration.recording`) compute them
without it, and they are what makes a step fast. Everything that a step shares, gradients, parts of
the objective and the wish to stop, therefore goes into one tensor, summed once.
"""

from __future__ import annotations

import contextlib
import logging
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from air.errors import ProcessLostError
from air.training.launch import PATIENCE, find_launch, meeting_point, note_error

_FIRST_ENDED = "air/first ended"
_GRACE = timedelta(seconds=15)  # torchrun itself allows 30

T = TypeVar("T")


class Processes:
    """The processes of a run, seen from one of them; one alone exchanges nothing.

    Args:
        rank: the number of this process, from 0.
        size: how many there are.
        on_gpu: whether gradients are on a GPU, whose host must not wait for them.
    """

    def __init__(self, rank: int = 0, size: int = 1, on_gpu: bool = False) -> None:
        self.rank = rank
        self.size = size
        self.is_first = rank == 0  # which alone writes, evaluates, and speaks
        self._on_gpu = on_gpu

    def share(self, whole: Tensor) -> Tensor:
        """Return this process's part of what has an entry for each image of the batch."""
        return whole if self.size == 1 else whole.chunk(self.size)[self.rank]

    def copy_first(self, model: nn.Module) -> None:
        """Give every process the first one's weights."""
        if self.size == 1:
            return
        with _together(), torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                dist.broadcast(tensor, 0)

    def sum_step(
        self, parameters: Sequence[nn.Parameter], parts: dict[str, Tensor], stop: bool
    ) -> tuple[dict[str, Tensor], bool]:
        """Add up what a step computed; every process gets the same, bit for bit.

        Args:
            parameters: whose gradients are replaced by their sums over all processes.
            parts: of the objective, scalars.
            stop: whether this process wants to stop after the step.

        Returns:
            The sums of the parts, and whether any process wants to stop.

        Raises:
            ProcessLostError: another process has ended.
        """
        if self.size == 1:
            return parts, stop
        with_gradient = [p for p in parameters if p.grad is not None]
        pieces = [*(p.grad for p in with_gradient if p.grad is not None), *parts.values()]
        like = pieces[0]
        wishes = torch.tensor([float(stop)], dtype=like.dtype)
        columns = [piece.detach().reshape(-1).to(like.dtype) for piece in pieces]
        flat = torch.cat([*columns, wishes.to(like.device)])
        with _together():
            dist.all_reduce(flat)
            if self._on_gpu:  # by way of the hosts, so that none waits for its GPU
                dist.all_reduce(wishes)
            else:
                wishes = flat[-1:]
        summed = flat[:-1].split([piece.numel() for piece in pieces])
        for parameter, gradient in zip(with_gradient, summed, strict=False):
            parameter.grad = gradient.view_as(parameter)
        sums = {
            name: value.view_as(part).to(part.dtype)
            for (name, part), value in zip(parts.items(), summed[len(with_gradient) :], strict=True)
        }
        return sums, bool(wishes.item() > 0)

    def highest(self, value: int) -> int:
        """Return the highest value of any process, for which all have to come here."""
        if self.size == 1:
            return value
        values = torch.tensor([value])
        with _together():
            dist.all_reduce(values, dist.ReduceOp.MAX)
        return int(values.item())

    def wait(self) -> None:
        """Return once every process has come here."""
        self.highest(0)

    def by_first(self, work: Callable[[], T]) -> T:
        """Let the first process do something, and return what it found to all."""
        values: list[Any] = [work() if self.is_first else None]
        if self.size == 1:
            return values[0]
        with _together():
            dist.broadcast_object_list(values, 0)
        return values[0]

    def gather(self, value: T) -> list[T]:
        """Return every process's value, by rank, to the first one, and nothing to the others."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.is_first else None
        with _together():
            dist.gather_object(value, values, 0)
        return values or []


ALONE = Processes()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Meet the other processes that `torchrun` started, if any.

    Of the others' log lines only errors are shown. They stay until the first one is done, because
    `torchrun` ends all processes as soon as one has failed or was stopped.

    Args:
        device: where this process's gradients are.

    Raises:
        ProcessLostError: another process has ended.
    """
    launch = find_launch()
    if launch.size == 1:
        yield ALONE
        return
    on_gpu = device.type == "cuda"
    # Hosts have a backend of their own: they wait for evaluations and checkpoints, which NCCL would
    # take for a hang.
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    with _together():
        dist.init_process_group(
            backend,
            store=meeting_point(),
            rank=launch.rank,
            world_size=launch.size,
            timeout=PATIENCE,
        )
    processes = Processes(launch.rank, launch.size, on_gpu)
    if not processes.is_first:
        logging.getLogger().setLevel(logging.ERROR)
    try:
        yield processes
    except ProcessLostError:
        raise
    except Exception:
        # Still connected, so that this is said before the others find this process gone; and the
        # first one, if it has come to the same end, may write it down and close its trackers.
        note_error()
        if processes.is_first:
            meeting_point().set(_FIRST_ENDED, "")
        else:
            with contextlib.suppress(RuntimeError):
                meeting_point().wait([_FIRST_ENDED], _GRACE)
        raise
    except SystemExit:
        _part(processes)
        raise
    else:
        _part(processes)


def _part(processes: Processes) -> None:
    processes.wait()
    dist.destroy_process_group()


@contextlib.contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        with contextlib.suppress(ValueError):  # not the main thread
            # torchrun is about to end this process too, which shall first say why.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        said = re.sub(r"^\[[^]]*\]", "", str(error)).strip()  # without the place in Gloo's source
        reason = said.splitlines()[0].split(". ")[0] if said else type(error).__name__
        raise ProcessLostError(
            f"another process of this run has ended, or cannot be reached ({reason})"
        ) from error
