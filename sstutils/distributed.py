"""Several processes, one run: ``torchrun`` starts them, they share the work and end with the same network.

Each holds the whole network. The training set is embedded in shares, process 0 finds the neighborhoods for all, each
process takes some of the neighborhoods of a step, and torch's DistributedDataParallel averages their gradients. On
several machines each has the data, and this is called on each of them::

    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m sstutils train sop
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def world() -> tuple[int, int]:
    """Return the rank of this process, from 0, and the number of processes."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


@contextmanager
def join_processes(where: str | None = None) -> Iterator[None]:
    """Join the processes that ``torchrun`` started, if it did: one GPU each (ValueError for fewer), or CPUs."""
    if int(os.environ.get("WORLD_SIZE", 1)) < 2 or dist.is_initialized():
        yield
        return
    gpus = torch.cuda.device_count() if where in (None, "cuda") else 0
    if gpus:
        local = int(os.environ.get("LOCAL_RANK", 0))
        if local >= gpus:
            raise ValueError(
                f"{os.environ.get('LOCAL_WORLD_SIZE', local + 1)} processes were started for {gpus} GPUs; "
                f"start at most {gpus}, or use --device cpu"
            )
        torch.cuda.set_device(local)
    # One process may download, unpack or cluster for long while the others wait.
    dist.init_process_group("nccl" if gpus else "gloo", timeout=timedelta(hours=4))
    yield
    # Not after an error: NCCL would wait here for processes that wait for this one, and torchrun could not end them.
    dist.destroy_process_group()


def parallel(module: nn.Module) -> nn.Module:
    """Wrap a module in DistributedDataParallel, if there are several processes and it has weights to train."""
    if world()[1] == 1 or not any(weights.requires_grad for weights in module.parameters()):
        return module
    # Running statistics do not enter a step: they are broadcast before the network is evaluated, not before each step.
    names = ("forward_sync_buffers", "broadcast_buffers")  # the new name, and that of torch before 2.14
    name = next(name for name in names if name in signature(DistributedDataParallel).parameters)
    return DistributedDataParallel(module, **{name: False})


@contextmanager
def accumulate(*modules: nn.Module) -> Iterator[None]:
    """Add gradients up in this process, without averaging them over the processes yet."""
    with ExitStack() as stack:
        for module in modules:
            if isinstance(module, DistributedDataParallel):
                stack.enter_context(module.no_sync())
        yield


def rank_zero_first(make: Callable[[], Any]) -> Any:
    """Call a function that makes something, such as files, in process 0, and then in the others, which find it."""
    rank, count = world()
    if rank == 0:
        made = make()
    if count > 1:
        dist.barrier()
    return made if rank == 0 else make()


def broadcast(make: Callable[[], Any]) -> Any:
    """Call a function in process 0, and return its value in all."""
    rank, count = world()
    if count == 1:
        return make()
    value = [make() if rank == 0 else None]
    dist.broadcast_object_list(value)
    return value[0]


def broadcast_buffers(module: nn.Module) -> None:
    """Set the buffers of a module, such as running statistics, to those of process 0."""
    if world()[1] > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def gather(part: Tensor, count: int) -> Tensor:
    """Gather (count, d) rows in all processes, of which that of rank r holds those at r, r + size, r + 2 size, ..."""
    _, size = world()
    if size == 1:
        return part
    padded = torch.cat([part, part.new_zeros(-(-count // size) - len(part), *part.shape[1:])])
    parts = [torch.empty_like(padded) for _ in range(size)]
    dist.all_gather(parts, padded)
    return torch.stack(parts, 1).flatten(0, 1)[:count]


def mean(tensor: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes."""
    if world()[1] == 1:
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total / world()[1]
