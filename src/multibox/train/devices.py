"""The devices of a run: which one, how many processes on it, in which arithmetic, with how many loader threads."""

from __future__ import annotations

import logging
import os

import torch
from lightning_fabric import Fabric

from multibox import machine
from multibox.runtime.torch_runtime import pick_device
from multibox.train.distributed import is_launched, meet_again

REMOTE_READERS = 16
"""Number of threads that read images over a network: most of their time is waiting."""

MAX_READERS, MAX_READERS_BESIDE_A_CARD = 8, 16
"""Largest number of threads that prepare batches, on a processor and beside a graphics card."""


def connect(device: str, precision: str) -> Fabric:
    """The devices of this run, its processes and its arithmetic. Under torchrun, this process joins the others.

    `device` is auto or the name of one of PyTorch's devices, `precision` auto, float32 or bfloat16.

    Raises:
        OptionError: there is no such device on this machine.
    """
    accelerator = pick_device(device).type
    if precision == "auto":
        precision = "bfloat16" if _has_fast_bfloat16(accelerator) else "float32"
    devices, nodes = 1, 1
    if is_launched():
        devices = processes_here()
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    # What it says at start-up (which precision, which of its environments) is of no use to a user of ours.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
    )
    meet_again("nccl" if accelerator == "cuda" else "gloo")
    fabric.launch()
    return fabric


def processes_here() -> int:
    """Number of processes of this run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def num_readers(device_type: str, *, is_remote: bool) -> int:
    """Number of threads of this process that prepare batches; `is_remote` if the images lie behind a network."""
    if is_remote:
        return REMOTE_READERS
    cores = machine.usable_cores() // processes_here()
    # On a processor, they share the cores with the training step; a graphics card leaves all of them to the images.
    wanted = min(MAX_READERS, cores // 2) if device_type == "cpu" else min(MAX_READERS_BESIDE_A_CARD, cores - 1)
    return max(1, wanted)


def processes_wanted(device: str, gpu_num: int | None, template_gpu_num: int) -> tuple[str, int, str | None]:
    """The device, the number of processes on it, and a line to say where `gpu_num` cannot be had.

    There is a process for each graphics card, or as many as `gpu_num` says with the device cpu. `gpu_num` of None
    stands for the template's.

    Raises:
        OptionError: there is no such device on this machine.
    """
    if device == "cpu":
        return device, max(1, gpu_num or 1), None
    if gpu_num == 0 and device == "auto":
        return "cpu", 1, None
    pick_device(device)
    available = torch.cuda.device_count()
    line = None
    if gpu_num is not None and gpu_num > available:
        instead = f"using {available}" if available else "training on the processor"
        line = f"--gpu-num {gpu_num}: this machine has {available} graphics cards; {instead}."
    return device, max(1, min(gpu_num if gpu_num is not None else template_gpu_num, available)), line


def _has_fast_bfloat16(accelerator: str) -> bool:
    if accelerator == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
