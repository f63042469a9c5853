"""Inception-v3 (Szegedy et al. 2015, arXiv:1512.00567): modules called as in TensorFlow and torchvision."""

from __future__ import annotations

from nn512.graph.examples.builder import Builder, Size
from nn512.graph.examples.entry import Example
from nn512.graph.examples.units import Units

_Branch = tuple[tuple[int, Size], ...]  # channels and filter of convolutions in a row

IMAGE = 299


def _inception_v3(builder: Builder) -> None:
    units = Units(builder, epsilon=0.001)
    tensor = _stem(units, builder.image(IMAGE))
    for letter, behind in zip("bcd", (32, 64, 64), strict=True):
        branches: tuple[_Branch, ...] = (((64, 1),), ((48, 1), (64, 5)), ((64, 1), (96, 3), (96, 3)))
        tensor = _module(units, tensor, f"mixed5{letter}", branches, behind)
    tensor = _smaller(units, tensor, "mixed6a", (((384, 3),), ((64, 1), (96, 3), (96, 3))))
    for letter, width in zip("bcde", (128, 160, 160, 192), strict=True):
        row, column = (1, 7), (7, 1)
        short: _Branch = ((width, 1), (width, row), (192, column))
        long: _Branch = ((width, 1), (width, column), (width, row), (width, column), (192, row))
        tensor = _module(units, tensor, f"mixed6{letter}", (((192, 1),), short, long), 192)
    branches = (((192, 1), (320, 3)), ((192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)))
    tensor = _smaller(units, tensor, "mixed7a", branches)
    for letter in "bc":
        tensor = _forked(units, tensor, f"mixed7{letter}")
    builder.classifier(tensor)


def _stem(units: Units, image: str) -> str:
    """The layers before the modules: to 192x35x35."""
    builder = units.builder
    tensor = units.add(image, "conv1", 32, 3, stride=2, padded=False)
    tensor = units.add(tensor, "conv2", 32, 3, padded=False)
    tensor = units.add(tensor, "conv3", 64, 3)
    tensor = builder.pool(tensor, "pool1", "Max3x3Stride2")
    tensor = units.add(tensor, "conv4", 80, 1)
    tensor = units.add(tensor, "conv5", 192, 3, padded=False)
    return builder.pool(tensor, "pool2", "Max3x3Stride2")


def _module(units: Units, source: str, name: str, branches: tuple[_Branch, ...], behind: int) -> str:
    """Branches side by side, and one of a convolution behind an average."""
    units.builder.part()
    ends = [_row(units, source, f"{name}branch{i}", branch) for i, branch in enumerate(branches, 1)]
    return units.builder.join((*ends, _averaged(units, source, name, behind)), name)


def _smaller(units: Units, source: str, name: str, branches: tuple[_Branch, ...]) -> str:
    """Branches whose last convolutions have stride 2 and no padding, and a maximum beside them."""
    units.builder.part()
    ends = []
    for i, (*before, (channels, size)) in enumerate(branches, 1):
        tensor = _row(units, source, f"{name}branch{i}", tuple(before))
        ends.append(units.add(tensor, f"{name}branch{i}last", channels, size, stride=2, padded=False))
    return units.builder.join((*ends, units.builder.pool(source, f"{name}pool", "Max3x3Stride2")), name)


def _forked(units: Units, source: str, name: str) -> str:
    """A module whose two long branches end in a row and a column side by side."""
    units.builder.part()
    ends = [units.add(source, f"{name}branch1", 320, 1)]
    befores: tuple[_Branch, ...] = (((384, 1),), ((448, 1), (384, 3)))
    for i, before in enumerate(befores, 2):
        tensor = _row(units, source, f"{name}branch{i}", before)
        ends += [
            units.add(tensor, f"{name}branch{i}row", 384, (1, 3)),
            units.add(tensor, f"{name}branch{i}column", 384, (3, 1)),
        ]
    return units.builder.join((*ends, _averaged(units, source, name, 192)), name)


def _row(units: Units, source: str, name: str, branch: _Branch) -> str:
    tensor = source
    for j, (channels, size) in enumerate(branch, 1):
        tensor = units.add(tensor, f"{name}conv{j}", channels, size)
    return tensor


def _averaged(units: Units, source: str, name: str, channels: int) -> str:
    """A convolution behind an average, which counts padding."""
    average = units.builder.slide(source, f"{name}average", "Avg", count_padding=1)
    return units.add(average, f"{name}averaged", channels, 1)


INCEPTIONS = {
    "InceptionV3": Example(
        (
            "Szegedy et al. 2015, arXiv:1512.00567, for images of 299x299, without its auxiliary classifier.",
            "5.71 GMAC, 23.83 M parameters.",
        ),
        _inception_v3,
    )
}
