"""Several processes: starting them with torchrun, sharing work among them, agreeing on what comes next."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from multibox.errors import TrainingError
from multibox.machine import usable_cores

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of one run, seen from this one: its `rank` among `count`. Where there is one, nothing is sent.

    `group` is what plain values travel through; None for PyTorch's default group.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - a value that nothing changes
    group: dist.ProcessGroup | None = None

    @classmethod
    def of(cls, rank: int, count: int, device: torch.device) -> Processes:
        """The processes that have met. Plain values never pass a graphics card, whose work they would wait for."""
        needs_group = count > 1 and device.type != "cpu"
        return cls(rank, count, device, dist.new_group(backend="gloo") if needs_group else None)

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def agree(self, steps_left: float, must_stop: bool) -> tuple[float, bool]:
        """The main process's view: clocks and signals differ between processes, the number of steps must not."""
        if self.count == 1:
            return steps_left, must_stop
        view = torch.tensor([steps_left, float(must_stop)], dtype=torch.float64)
        dist.broadcast(view, src=0, group=self.group)
        return float(view[0]), bool(view[1])

    def agree_on(self, answer: bool) -> bool:
        """The main process's answer."""
        return self.agree(0.0, answer)[1]

    def mean(self, values: Tensor) -> Tensor:
        """The mean of the processes' values, elementwise."""
        if self.count == 1:
            return values
        total = values.clone().to(self.device)
        dist.all_reduce(total)
        average: Tensor = total / self.count
        return average

    def from_main(self, value: T) -> T:
        """The main process's value, which may be any that can be pickled; the others' values are ignored."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.group)
        return values[0]

    def gather(self, part: Sequence[T]) -> list[T] | None:
        """The sequence whose `shard`s the processes hold, in its order, for the main process; None for the others."""
        if self.count == 1:
            return list(part)
        parts: list[Any] | None = [None] * self.count if self.is_main else None
        dist.gather_object(list(part), parts, dst=0, group=self.group)
        if parts is None:
            return None
        whole: list[Any] = [None] * sum(map(len, parts))
        for rank, items in enumerate(parts):
            whole[rank :: self.count] = items
        return whole

    def check_same_step(self, step: int) -> None:
        """Refuse to start unless all processes go on from the same step.

        Raises:
            TrainingError: this one has found another checkpoint than the main process, or none.
        """
        main_step = self.from_main(step)
        if main_step != step:
            raise TrainingError(
                f"Process {self.rank} would go on from step {step}, the main one from step {main_step}. "
                "All machines need the same --save-checkpoints-to, in a folder that they share."
            )


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


def shard(items: Sequence[T], rank: int, world_size: int) -> Sequence[T]:
    """This process's part of a common sequence, without duplicates; parts may differ in length by one."""
    return items[rank::world_size]


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
