"""A translator as an ONNX file whose noise is an input, so that a degradation runs without Python."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unpairaug.camera.optics import Optics
from unpairaug.data.files import write_file
from unpairaug.errors import RunStopped, UserError
from unpairaug.export.format import TOLERANCE
from unpairaug.export.onnx_file import TRACED, convert
from unpairaug.rng import GivenNumbers, RecordedNumbers
from unpairaug.translator import Translator, own_scale

OUTPUT = "degraded"
SHAPES = ((1, 3, 45, 61), (1, 3, 64, 48), (1, 3, 130, 150), (3, 3, 16, 24))
"""Shapes of the compared images at scale 1: other sides than the traced ones, a size for an FFT, and a batch."""
INSTEAD = "`unpairaug degrade` and `TranslatorAugment` take every translator"
LAWS = {torch.randn: "noise", torch.rand: "uniform"}
"""Names of the inputs by what draws their numbers."""


@runtime_checkable
class EndsInFile(Protocol):
    """Ability: `degrade` ends in a file with 256 levels, and in a JPEG where there are qualities for it."""

    round: bool
    jpeg: tuple[int, int] | None


class Unfiled(NamedTuple):
    """A translator without the file that it ends in."""

    translator: Translator
    jpeg: tuple[int, int] | None
    """Lowest and highest quality of that file; None without a JPEG."""


class Compared(NamedTuple):
    """A file beside its translator."""

    difference: float
    """The largest, given the same random numbers, for images in [0, 1]."""
    any_batch: bool
    """Whether the file takes several images at a time."""


class _WithInputs(nn.Module):
    """The translator with its random numbers as further inputs."""

    def __init__(self, translator: Translator) -> None:
        super().__init__()
        self.translator = copy.deepcopy(translator)
        for module in self.translator.modules():
            if isinstance(module, Optics):
                module.allow_fft = False

    def forward(self, source: Tensor, *numbers: Tensor) -> Tensor:
        return self.translator(source, GivenNumbers(numbers))


def leave_file_out(translator: Translator) -> Unfiled:
    """A copy that ends before the file: ONNX has no JPEG, and a program that saves the image rounds it anyway."""
    unfiled, jpeg = copy.deepcopy(translator).eval(), None
    if isinstance(unfiled, EndsInFile):
        jpeg, unfiled.round, unfiled.jpeg = unfiled.jpeg, False, None
    if unfiled.camera is not None and (quality := unfiled.camera.jpeg.quality):
        jpeg = quality, quality
        unfiled.camera.jpeg.set(0)
    return Unfiled(unfiled, jpeg)


def write(translator: Translator, path: Path) -> None:
    """Write the ONNX file, for any batch, or for one image at a time if the translator cannot be traced otherwise.

    Raises:
        UserError: a package is missing, or the translator cannot be converted.
    """
    network, name = _WithInputs(translator), f"translator {translator.config['type']!r}"
    examples = (_example(translator, _scaled(translator, (batch, *TRACED[1:]))) for batch in (2, 1))
    try:
        content = convert(network, name, next(examples), OUTPUT, INSTEAD)
    except UserError:
        content = convert(network, name, next(examples), OUTPUT, INSTEAD)
    write_file(path, content)


def compare(translator: Translator, path: Path) -> Compared:
    """Run the file and the translator on the same images and random numbers.

    Raises:
        RunStopped: it exceeds `TOLERANCE`, or the file gives no image, or one of another size.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    any_batch = not isinstance(session.get_inputs()[0].shape[0], int)
    shapes = [_scaled(translator, shape) for shape in SHAPES if any_batch or shape[0] == 1]
    differences = {shape: _difference(translator, session, shape) for shape in shapes}
    for shape, difference in differences.items():
        if not difference <= TOLERANCE:  # True for NaN, too
            raise RunStopped(
                f"the loaded file and the translator differ by {difference:.3g} at shape {shape} (images in [0, 1], "
                f"tolerance {TOLERANCE:g}); nothing was written"
            )
    return Compared(max(differences.values()), any_batch)


def describe(translator: Translator, any_batch: bool) -> str:
    """What the translator is, and what its file takes, for the card."""
    (image, _), *numbers = _example(translator, _scaled(translator, (1, 3, 64, 64))).items()
    trained = ", trained on unpaired images" if translator.generators and translator.trained else ""
    batch = "batch" if any_batch else "1"
    sentences = [
        f"A translator of unpairaug, {translator.config['type']}{trained}: it shows a clean image as a camera would.",
        f"Input {image} and output {OUTPUT}: ({batch}, 3, height, width) in [0, 1].",
    ]
    if (scale := own_scale(translator)) > 1:
        sentences.append(f"The output is {scale} times smaller.")
    for name, example in numbers:
        law = "uniform numbers in [0, 1)" if name.startswith(LAWS[torch.rand]) else "standard normal numbers"
        sides = ", ".join(map(str, example.shape[1:]))
        place = "of the shape of the output" if example.dim() == 4 else f"({batch}, {sides})"
        sentences.append(f"Input {name}: {law}, {place}, new ones for each image.")
    return " ".join(sentences)


def describe_file(jpeg: tuple[int, int] | None) -> str:
    """What is left to do with the output, as a sentence."""
    if jpeg is None:
        return "Clamp the output to [0, 1]."
    low, high = jpeg
    quality = f"quality {low}" if low == high else f"a quality drawn between {low} and {high}"
    return f"Clamp the output to [0, 1] and save it as a JPEG of {quality}, which ONNX has no operation for."


def _difference(translator: Translator, session: Any, shape: tuple[int, ...]) -> float:
    given = _example(translator, shape)
    image, *numbers = given.values()
    with torch.inference_mode():
        ours = translator(image, GivenNumbers(numbers))
    try:
        theirs = torch.from_numpy(session.run([OUTPUT], {name: each.numpy() for name, each in given.items()})[0])
    except Exception as error:  # an engine raises arbitrary exceptions
        raise RunStopped(f"the loaded file fails on an image of shape {shape}: {error}; nothing was written") from error
    if ours.shape != theirs.shape:
        raise RunStopped(
            f"the loaded file makes an image {tuple(theirs.shape)} of {shape}, the translator "
            f"{tuple(ours.shape)}; nothing was written"
        )
    return (ours - theirs).abs().max().item()


def _example(translator: Translator, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """An image of the shape and the random numbers that the translator draws for it, by the names of the inputs."""
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    recorded = RecordedNumbers(seed=1)
    with torch.inference_mode():
        translator(image, recorded)
    inputs = {"clean" if own_scale(translator) > 1 else "source": image}
    for law, numbers in recorded.drawn:
        name, count = LAWS[law], sum(other is law for other, _ in recorded.drawn)
        number = 1 + sum(each.startswith(name) for each in inputs)
        inputs[name if count == 1 else f"{name}_{number}"] = numbers
    return inputs


def _scaled(translator: Translator, shape: tuple[int, ...]) -> tuple[int, ...]:
    scale = own_scale(translator)
    return (*shape[:2], shape[2] * scale, shape[3] * scale)
