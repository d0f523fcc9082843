"""Images as other programs hold them, PIL, NumPy or torch, as arrays, and results as the kind that was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unpairaug.errors import UserError

LOWEST, HIGHEST = -0.5, 1.5
"""What floats in [0, 1] may overshoot to, as after sharpening or noise; beyond it, they have another range."""
_DEPTHS = ("uint8", "uint16")


class ArrayImages(NamedTuple):
    """Images to work on, and the way back to what they were given as."""

    arrays: list[NDArray[Any]]
    """Each (H, W, 3) or (H, W), in uint8, uint16, or float32 in [0, 1]."""
    back: Callable[[list[NDArray[Any]]], Any]
    """Results of the same types and channels, of any size -> the kind that was given."""


def to_arrays(image: Any) -> ArrayImages:
    """The image, or the images of a batch.

    Args:
        image: a PIL image (L, RGB, 16-bit grey); an array (H, W), (H, W, 1) or (H, W, 3); or a tensor (3, H, W),
            (1, H, W) or (B, C, H, W). Arrays and tensors are uint8, uint16, or floats in [0, 1].

    Raises:
        UserError: it is none of these; the message says what to do.
    """
    if isinstance(image, Image.Image):
        return _from_pil(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if type(image).__module__.partition(".")[0] == "torch" and hasattr(image, "detach"):
        return _from_tensor(image)
    raise UserError(
        f"given a {type(image).__name__}, should be a PIL image, a NumPy array (H, W, 3) or a tensor (3, H, W); "
        f"open a file with PIL.Image.open"
    )


def check_range(lowest: float, highest: float, what: str) -> None:
    """Check that floats are about in [0, 1].

    Raises:
        UserError: they are not, or not finite.
    """
    if not (lowest >= LOWEST and highest <= HIGHEST):  # NaN compares as false
        remedy = "divide by 255" if highest > HIGHEST and lowest >= 0 else "scale them, and remove NaN"
        raise UserError(f"given {what} from {lowest:.4g} to {highest:.4g}, should be in [0, 1]; {remedy}")


def check_tensor_range(images: Any, what: str) -> None:
    """Check that a tensor of floats is about in [0, 1]; waits for its device. Empty and meta tensors pass.

    Raises:
        UserError: it is not.
    """
    import torch

    if images.is_floating_point() and images.numel() and not images.is_meta:
        lowest, highest = torch.stack(images.detach().aminmax()).tolist()
        check_range(lowest, highest, f"{what} of {images.dtype}")


def _from_pil(image: Image.Image) -> ArrayImages:
    if image.mode not in ("L", "RGB", "I;16"):
        raise UserError(f"given a PIL image of mode {image.mode}, should be RGB or L; call image.convert('RGB')")
    return ArrayImages([np.array(image)], lambda results: Image.fromarray(results[0]))


def _from_array(image: NDArray[Any]) -> ArrayImages:
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)) or 0 in image.shape:
        hint = "; call image.transpose(1, 2, 0)" if image.ndim == 3 and image.shape[0] in (1, 3) else ""
        hint = " with at least one pixel" if 0 in image.shape else hint
        raise UserError(f"given an array of shape {image.shape}, should be (H, W, 3) or (H, W){hint}")
    array = _checked(image, str(image.dtype), "an array")

    def back(results: list[NDArray[Any]]) -> NDArray[Any]:
        return results[0].reshape(*results[0].shape[:2], *image.shape[2:]).astype(image.dtype)

    return ArrayImages([array[..., 0] if image.shape[2:] == (1,) else array], back)


def _from_tensor(image: Any) -> ArrayImages:
    import torch

    if image.ndim not in (3, 4) or image.shape[-3] not in (1, 3) or 0 in image.shape:
        hint = "; call image.permute(2, 0, 1)" if image.ndim == 3 and image.shape[-1] in (1, 3) else ""
        raise UserError(f"given a tensor of shape {tuple(image.shape)}, should be (3, H, W) or (B, 3, H, W){hint}")
    name = str(image.dtype).removeprefix("torch.")
    plain = image.detach().cpu()
    batch = _checked((plain.float() if plain.is_floating_point() else plain).numpy(), name, "a tensor")
    batch = batch.reshape(-1, *batch.shape[-3:])
    arrays = [one[0] if len(one) == 1 else np.ascontiguousarray(one.transpose(1, 2, 0)) for one in batch]

    def back(results: list[NDArray[Any]]) -> Any:
        planes = [result[None] if result.ndim == 2 else result.transpose(2, 0, 1) for result in results]
        found = torch.from_numpy(np.ascontiguousarray(np.stack(planes)))
        return (found if image.ndim == 4 else found[0]).to(device=image.device, dtype=image.dtype)

    return ArrayImages(arrays, back)


def _checked(array: NDArray[Any], dtype: str, what: str) -> NDArray[Any]:
    """The array as uint8, uint16 or float32; `dtype` is the name of the type that was given."""
    if dtype in _DEPTHS:
        return array
    if array.dtype.kind != "f":
        raise UserError(f"given {what} of {dtype}, should be uint8, uint16, or floats in [0, 1]; convert it")
    check_range(float(array.min()), float(array.max()), f"{what} of {dtype}")
    return array.astype(np.float32)
