"""Several processes: starting them with torchrun, sharing work among them, batch statistics over all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from multibox.machine import usable_cores

T = TypeVar("T")


def is_launched() -> bool:
    """Whether this process was started by torchrun (or a scheduler that sets the same variables)."""
    return "WORLD_SIZE" in os.environ and "RANK" in os.environ


def is_main_process() -> bool:
    """Whether this process is the one that writes and speaks."""
    return os.environ.get("RANK", "0") == "0"


def run_id() -> str | None:
    """The id that torchrun gave this run, the same after a restart; None where nothing was launched."""
    return os.environ.get("TORCHELASTIC_RUN_ID")


def is_restarted() -> bool:
    """Whether torchrun started these processes anew because one of the former ones had failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def meet_again(backend: str) -> None:
    """Join the other processes after a restart, if torchrun keeps the place where they meet.

    That place still has the addresses of the processes that failed (PyTorch 2.13), and whoever reads them first asks
    the dead. Under a name of its own, each attempt starts with nothing.
    """
    if not is_restarted() or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    port = int(os.environ["MASTER_PORT"])
    place = dist.TCPStore(os.environ["MASTER_ADDR"], port, world_size, is_master=False)  # type: ignore[attr-defined]
    store = dist.PrefixStore(f"multibox/attempt {attempt}", place)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)


def control_group(device_type: str) -> dist.ProcessGroup | None:
    """What plain values travel through: never a graphics card, whose work would have to be waited for first."""
    return None if device_type == "cpu" else dist.new_group(backend="gloo")


def shard(items: Sequence[T], rank: int, world_size: int) -> Sequence[T]:
    """This process's part of a common sequence, without duplicates; parts may differ in length by one."""
    return items[rank::world_size]


def gather(part: Sequence[T], group: dist.ProcessGroup | None) -> list[T] | None:
    """The sequence whose `shard`s the processes hold, in its order, for the main process; None for the others."""
    world_size = dist.get_world_size()
    parts: list[Any] | None = [None] * world_size if dist.get_rank() == 0 else None
    dist.gather_object(list(part), parts, dst=0, group=group)
    if parts is None:
        return None
    whole: list[Any] = [None] * sum(map(len, parts))
    for rank, items in enumerate(parts):
        whole[rank::world_size] = items
    return whole


@torch.no_grad()
def share_state(model: nn.Module) -> None:
    """Give all processes the main one's weights and statistics, in place."""
    for value in model.state_dict().values():
        dist.broadcast(value, src=0)


def launch(num_processes: int, arguments: Sequence[str]) -> int:
    """Run `multibox` with these arguments in processes of this machine; the exit code of the first that failed."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import get_args_parser, run

    options = [f"--nproc-per-node={num_processes}", "--standalone", "--module", "multibox", *arguments]
    threads = max(1, usable_cores() // num_processes)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        run(get_args_parser().parse_args(options))
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
        print(f"{len(codes)} of {num_processes} processes failed.", file=sys.stderr)
        return next((code for code in codes if code > 0), 1)
    return 0


def synchronise_batch_norm(model: nn.Module) -> nn.Module:
    """The model with batch statistics over the images of all processes, in place; names and weights stay.

    PyTorch's own synchronised layer runs on graphics cards only; on a processor this module's takes its place.
    """
    if next(model.parameters()).is_cuda:
        synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return synchronised
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, SyncedBatchNorm.of(child))
    return model


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose training statistics are over all processes, which hold equally many images."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> SyncedBatchNorm:
        """The same layer, sharing its parameters and buffers."""
        synced = cls(norm.num_features, norm.eps, norm.momentum)
        synced._parameters, synced._buffers, synced.training = norm._parameters, norm._buffers, norm.training
        return synced

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        if not self.training:
            return super().forward(x)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        # Mean first, then squares about it: one pass over squares would lose digits where the mean is large.
        mean = _average(x.float().mean((0, 2, 3)))
        centred = x.float() - mean[:, None, None]
        variance = _average(centred.square().mean((0, 2, 3)))
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normalised: Tensor = centred * scale[:, None, None] + self.bias[:, None, None]
        return normalised.to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


def _average(value: Tensor) -> Tensor:
    averaged: Tensor = _Average.apply(value)  # type: ignore[no-untyped-call]
    return averaged


class _Average(torch.autograd.Function):
    """Mean of a tensor over all processes; so is its gradient, since every process's loss depends on it."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()
