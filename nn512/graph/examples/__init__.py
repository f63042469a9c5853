"""Well-known nets as graph texts: `example_names()` lists them, `example(name)` writes one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nn512.errors import UsageError
from nn512.graph.examples.convnext import CONVNEXTS
from nn512.graph.examples.densenet import DENSENETS
from nn512.graph.examples.efficientnet import EFFICIENTNETS
from nn512.graph.examples.entry import Example
from nn512.graph.examples.googlenet import GOOGLENETS
from nn512.graph.examples.inception import INCEPTIONS
from nn512.graph.examples.mobilenet import MOBILENETS
from nn512.graph.examples.mobilenet_v3 import MOBILENETS_V3
from nn512.graph.examples.regnet import REGNETS
from nn512.graph.examples.resnet import RESNETS
from nn512.graph.examples.shufflenet import SHUFFLENETS
from nn512.graph.examples.squeezenet import SQUEEZENETS
from nn512.graph.examples.vgg import VGGS
from nn512.graph.examples.wavenet import WAVENETS
from nn512.graph.suggest import close_match, did_you_mean

__all__ = ["example", "example_names"]

_EXAMPLES: Mapping[str, Example] = MappingProxyType(
    {
        **RESNETS,
        **DENSENETS,
        **VGGS,
        **GOOGLENETS,
        **INCEPTIONS,
        **SQUEEZENETS,
        **MOBILENETS,
        **MOBILENETS_V3,
        **EFFICIENTNETS,
        **SHUFFLENETS,
        **REGNETS,
        **CONVNEXTS,
        **WAVENETS,
    }
)


def example_names() -> tuple[str, ...]:
    """The names that `example` knows, family by family."""
    return tuple(_EXAMPLES)


def example(name: str) -> str:
    """Graph text of a net that ends in Softmax, below a comment that says its source.

    It is for colour images of 224x224 and 1000 classes where the comment says nothing else. Raises UsageError for
    unknown names.
    """
    if name in _EXAMPLES:
        return _EXAMPLES[name].text(name)
    guess = did_you_mean(close_match(name, example_names()))
    message = f"there is no example {name!r}{guess or '; there are ' + ', '.join(example_names())}"
    raise UsageError(message)
