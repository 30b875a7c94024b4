"""Augmentation: each picture is seen a little differently each time, on the device where it lies."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def crop(images: Tensor, size: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Cut a square of its own out of each picture, and mirror half of the pictures if `flip`.

    (N, 3, H, W) becomes (N, 3, size, size), on the device of the pictures; the generator is one of the CPU.
    """
    count, _, height, width = images.shape
    steps = torch.arange(size)
    rows = torch.randint(height - size + 1, (count, 1), generator=generator) + steps
    columns = torch.randint(width - size + 1, (count, 1), generator=generator) + steps
    if flip:
        columns = torch.where(torch.rand(count, 1, generator=generator) < 0.5, columns.flip(1), columns)
    rows, columns = rows.to(images.device), columns.to(images.device)
    picture = torch.arange(count, device=images.device)[:, None, None]
    # channels last: one read of three bytes a pixel
    return images.permute(0, 2, 3, 1)[picture, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def augment(images: Tensor, strength: float, generator: torch.Generator, turned: Tensor | None = None) -> Tensor:
    """Turn, scale, slant and shift each picture a little, each in its own way; on the device of the pictures.

    Parameters
    ----------
    images : (N, 3, H, W) uint8
    strength : float
        1 is up to 11 degrees, 19 % of size, 0.15 of slant and 6 % of the side; 0 changes nothing.
    generator : torch.Generator
        On the CPU.
    turned : (N,) int64, optional
        Groups: all pictures of a group are also turned by quarter turns and mirrored, alike. A turned letter is one
        that nobody has seen: if the groups are classes, the network learns to tell eight times as many.

    Returns
    -------
    (N, 3, H, W) float32 in 0..1
    """
    images = images.float() / 255
    if strength == 0 and turned is None:
        return images
    draws = strength * (2 * torch.rand(5, len(images), generator=generator, dtype=torch.float32) - 1)
    angle, size, slant, right, down = draws
    angle, size, slant, right, down = angle * 0.2, 2 ** (size * 0.25), slant * 0.15, right * 0.12, down * 0.12
    mirror = torch.ones(len(images), dtype=torch.float32)
    if turned is not None:
        of_class = torch.randint(8, (int(turned.max()) + 1,), generator=generator)[turned.cpu()]
        angle, mirror = angle + of_class % 4 * (math.pi / 2), 1 - 2.0 * (of_class // 4)
    cos, sin = angle.cos() * size, angle.sin() * size
    affine = torch.stack([cos * mirror, slant - sin, right, sin * mirror, cos, down], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(affine.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
