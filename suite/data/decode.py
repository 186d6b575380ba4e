"""From encoded images to pixels, in worker processes that run ahead of whoever reads them."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from suite.cores import cores
from suite.data.shuffle import Groups, layout
from suite.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE, RESIZED = 224, 256  # pixels; the usual ImageNet view
GREY = ("1", "L", "LA")  # Pillow's modes of one channel; alpha is dropped, as of images in colour


class Encoded(Protocol):
    """The encoded images of one split, and where they lie."""

    @property
    def labels(self) -> Tensor: ...

    @property
    def groups(self) -> Groups | None:
        """Which images are read together; None: each by itself."""
        ...

    def read(self, indices: Sequence[int]) -> list[bytes]: ...

    def where(self, index: int) -> str: ...

    def file(self, index: int) -> str:
        """The file that an image is in."""
        ...

    def files(self) -> list[tuple[str, int]]:
        """Name and size in bytes of every file."""
        ...


View = Callable[["Image", int], "Image"]  # what is made of an image, given its index too
Make = Callable[[list[int]], np.ndarray]  # the images at some indices


class DifferentSize(UserError):
    """An image has not the size that the others have."""


def evaluation_view(image: Image, index: int) -> Image:
    """The shorter side resized to 256 pixels, and the central 224x224 of that."""
    from torchvision.transforms import functional

    seen: Image = functional.center_crop(functional.resize(image, [RESIZED]), [SIDE])
    return seen


def training_view(seed: int, smallest: float, image: Image, index: int) -> Image:
    """A random window, resized to 224x224, that depends on the seed, the index and the image's size alone.

    It has at least the share `smallest` of the area and an aspect of 3/4 to 4/3, or is the central square if ten draws
    do not fit.
    """
    from torchvision.transforms import functional

    draw = random.Random(f"{seed} {index}").random
    side = min(image.size)
    window = (image.height - side) // 2, (image.width - side) // 2, side, side
    for _ in range(10):
        area = image.width * image.height * (smallest + (1 - smallest) * draw())
        aspect = (4 / 3) ** (2 * draw() - 1)
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= image.width and 0 < height <= image.height:
            top, left = int(draw() * (image.height - height + 1)), int(draw() * (image.width - width + 1))
            window = top, left, height, width
            break
    seen: Image = functional.resized_crop(image, *window, [SIDE, SIDE])
    return seen


def decode(source: Encoded, size: tuple[int, int], view: View, channels: int, indices: list[int]) -> np.ndarray:
    """Each image at `indices` through `view`, which gives it `size` (width, height): uint8 (B, `channels`, H, W).

    Raises UserError that names the place of an image that cannot be decoded.
    """
    images = np.empty((len(indices), channels, size[1], size[0]), np.uint8)
    for pixels, index, data in zip(images, indices, source.read(indices), strict=True):
        seen = np.asarray(view(_pixels(data, channels, source.where(index)), index))
        pixels[:] = seen.transpose(2, 0, 1) if channels == 3 else seen
    return images


def decode_ahead(make: Make, groups: Groups | None, index_batches: Sequence[Tensor]) -> Iterator[Tensor]:
    """What `make` gives for each index batch, in order, by about as many processes as there are cores for this one."""
    workers = cores()
    if groups and len(groups.of):  # each lane of batches has its worker (`suite.data.shuffle`)
        lanes, _ = layout(int(groups.of[-1]) + 1, groups.size)
        workers = min(lanes, 1 << workers.bit_length() - 1)
    loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
        [indices.tolist() for indices in index_batches],  # type: ignore[arg-type]
        batch_size=None,
        collate_fn=partial(_attempt, make),
        num_workers=min(workers, len(index_batches)) if len(index_batches) > 1 else 0,
        generator=torch.Generator(),  # its own, or it would draw from the caller's
    )
    for images in loader:
        if isinstance(images, UserError):
            raise images
        yield torch.from_numpy(images)


def decode_all(source: Encoded, size: tuple[int, int], channels: int = 3) -> Tensor:
    """Every image: uint8 (N, `channels`, H, W). Raises DifferentSize unless each has `size` (width, height)."""
    make = partial(decode, source, size, partial(_unchanged, source, size), channels)
    return torch.cat(list(decode_ahead(make, source.groups, torch.arange(len(source.labels)).split(1000))))


def size_of(source: Encoded, index: int) -> tuple[int, int]:
    """Width and height in pixels of the image at `index`."""
    return _opened(source.read([index])[0], source.where(index)).size


def is_grey(source: Encoded) -> bool:
    """Whether every image has one channel. Only their headers are read, and none after the first in colour."""
    for indices in torch.arange(len(source.labels)).split(100):
        for index, data in zip(indices.tolist(), source.read(indices.tolist()), strict=True):
            if _opened(data, source.where(index)).mode not in GREY:
                return False
    return True


def _unchanged(source: Encoded, size: tuple[int, int], image: Image, index: int) -> Image:
    if image.size != size:
        raise DifferentSize(f"{source.where(index)} has {_by(image.size)} pixels, not {_by(size)}")
    return image


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _attempt(make: Make, indices: list[int]) -> np.ndarray | UserError:
    # An error raised in a worker would reach the user as that worker's traceback. And arrays, unlike tensors,
    # come back through a pipe, not through shared memory, which is often too small in a container.
    try:
        return make(indices)
    except UserError as error:
        return error


def _opened(data: bytes, where: str) -> Image:
    import PIL.Image

    try:
        return PIL.Image.open(io.BytesIO(data))
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes lead them to
        raise UserError(f"{where} is not a readable image") from error


def _pixels(data: bytes, channels: int, where: str) -> Image:
    image = _opened(data, where)
    try:
        pixels = image.convert("RGB")
    except Exception as error:
        raise UserError(f"{where} is not a readable image") from error
    if image.mode[0] in "IF":  # convert clips these at 255
        raise UserError(f"{where} has more than 8 bits per channel: convert it to 8 bits")
    if channels == 3:
        return pixels
    red, green, blue = pixels.split()
    if image.mode not in GREY and not red.tobytes() == green.tobytes() == blue.tobytes():
        raise UserError(f"{where} is in colour, and the images of this data set are grey")
    return red
