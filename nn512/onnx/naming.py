"""Names of the graph language for the tensors of a model: letters and digits, unique, and like the model's.

features.0.conv.weight              features0conv     a layer is called after its weights where they have a name
/layer1/layer1.0/relu/Relu_output_0 layer10relu       or after the tensor that it writes
123                                 t123
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_LETTERS = 60
"""Of a name, before what makes it unique."""

_SUFFIX = re.compile(
    r"(?::\d+|[._/](?:weights?|kernel|gamma|scales?|w|w_0|filter)(?:_\d+)?|(?<=[a-z0-9])Weights?|(?<=[a-z0-9])Scales"
    r"|/ReadVariableOp|/read|_(?:weights?|w|kernel|gamma|scale)(?:_\d+)?)$"
)
"""What parameters have behind the name of their layer, of several frameworks."""

_OWN_SUFFIXES = ("", "Data", "Weights", "Biases", "Means", "Variances", "Scales", "Shifts", "Slopes", "Values")
"""What the names of a tensor's parameters and arguments have behind it: no two tensors may meet there."""


def stem(parameter: str) -> str:
    """The name of the layer that a parameter is for; empty where the parameter's name says nothing."""
    if parameter.startswith(("onnx::", "const_fold")) or "Constant" in parameter:
        return ""
    before = None
    short = parameter
    while short != before:
        before, short = short, _SUFFIX.sub("", short)
    return "" if short == parameter or not re.search(r"[A-Za-z0-9]", short) else short


def readable(tensor: str, operator: str = "") -> str:
    """Letters and digits of a tensor's name, without what exporters add to it."""
    short = re.sub(r"(?:_output_\d+|:0)$", "", tensor)
    parts = [part for part in short.split("/") if part]
    if len(parts) > 1 and operator and re.fullmatch(rf"{re.escape(operator)}(?:_\d+)?", parts[-1]):
        parts.pop()
    # /layer1/layer1.0/conv1: the second part repeats the first.
    parts = [p for p, after in zip(parts, [*parts[1:], ""], strict=False) if not after.startswith(p + ".")]
    name = re.sub(r"[^A-Za-z0-9]", "", "".join(parts)) or "tensor"
    name = name if name[0].isalpha() else f"t{name}"
    return name[:MOST_LETTERS]


def prefix_of(stem: str) -> str:
    """A prefix like the name of a file: resnet50-v1 gives Resnet50v1."""
    letters = re.sub(r"[^A-Za-z0-9]", "", stem)[:40]
    if not letters[:1].isalpha():
        letters = f"Net{letters}"
    return letters[0].upper() + letters[1:]


class Names:
    """Names that are given out, each once, and none that another one's parameters need."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def give(self, wanted: str) -> str:
        """The name, or it with a number behind it."""
        name, number = wanted, 1
        while any(name + suffix in self._taken for suffix in _OWN_SUFFIXES):
            number += 1
            name = f"{wanted}v{number}"
        self._taken.update(name + suffix for suffix in _OWN_SUFFIXES)
        return name
