"""Well-known nets as graph texts: `example_names()` lists them, `example(name)` writes one."""

from __future__ import annotations

from nn512.errors import UsageError
from nn512.graph.examples.densenet import DENSENETS, densenet
from nn512.graph.examples.resnet import RESNETS, resnet
from nn512.graph.suggest import close_match, did_you_mean

__all__ = ["example", "example_names"]


def example_names() -> tuple[str, ...]:
    """The names that `example` knows, family by family."""
    return (*RESNETS, *DENSENETS)


def example(name: str) -> str:
    """Graph text of a net for 224x224 colour images and 1000 classes, ending in Softmax.

    Raises UsageError for unknown names.
    """
    if name in RESNETS:
        return resnet(name)
    if name in DENSENETS:
        return densenet(name)
    guess = did_you_mean(close_match(name, example_names()))
    message = f"there is no example {name!r}{guess or '; there are ' + ', '.join(example_names())}"
    raise UsageError(message)
