"""Many processes, one run: ``torchrun`` starts them, they divide the work and end with the same network.

Each holds the whole network and has a rank. Features are embedded in parts and gathered, the first process finds the
neighborhoods and tells the others, the neighborhoods of a step are divided, and their gradients are added up. In a
single process every function here does nothing, or what there is to do for one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["all_reduce", "broadcast", "gather", "join_processes", "rank_zero_first", "world"]


def world() -> tuple[int, int]:
    """Return the rank of this process, from 0, and the number of processes."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


@contextmanager
def join_processes(where: str | None = None) -> Iterator[None]:
    """Join the processes that ``torchrun`` started, if it did; on GPUs each takes one, and they talk by NCCL.

    Parameters
    ----------
    where : str, optional
        Device that is asked for: "cpu" lets them talk by gloo, whatever the machine has.

    Raises
    ------
    ValueError
        If there are fewer GPUs than processes on this machine.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) < 2 or dist.is_initialized():
        yield
        return
    gpus = torch.cuda.device_count() if where in (None, "cuda") else 0
    if gpus:
        local = int(os.environ.get("LOCAL_RANK", 0))
        if local >= gpus:
            raise ValueError(
                f"{os.environ.get('LOCAL_WORLD_SIZE', local + 1)} processes were started for {gpus} GPUs: "
                f"start at most {gpus}, or use --device cpu"
            )
        torch.cuda.set_device(local)
    # One process may download, unpack or cluster for long while the others wait.
    dist.init_process_group("nccl" if gpus else "gloo", timeout=timedelta(hours=4))
    yield
    # Not after an error: NCCL would wait here for processes that wait for this one, and torchrun could not end them.
    dist.destroy_process_group()


def rank_zero_first(make: Callable[[], Any]) -> Any:
    """Let the first process make something, such as files, and the others after it, when it is there."""
    rank, count = world()
    if rank == 0:
        made = make()
    if count > 1:
        dist.barrier()
    return made if rank == 0 else make()


def broadcast(make: Callable[[], Any]) -> Any:
    """Let the first process make a value, and return it in all."""
    rank, count = world()
    if count == 1:
        return make()
    told = [make() if rank == 0 else None]
    dist.broadcast_object_list(told)
    return told[0]


def gather(part: Tensor, count: int) -> Tensor:
    """Put together rows that were dealt out like cards: the process of rank r has rows r, r + size, r + 2 size, ...

    Parameters
    ----------
    part : (n, d) tensor
        The rows of this process.
    count : int
        Of all rows.

    Returns
    -------
    (count, d) tensor, the same in all processes
    """
    _, size = world()
    if size == 1:
        return part
    most = -(-count // size)
    padded = torch.cat([part, part.new_zeros(most - len(part), *part.shape[1:])])
    parts = [torch.empty_like(padded) for _ in range(size)]
    dist.all_gather(parts, padded)
    return torch.stack(parts, 1).flatten(0, 1)[:count]


def all_reduce(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes; all in one message."""
    if world()[1] == 1:
        return
    flat = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.detach().copy_(total.view_as(tensor))
