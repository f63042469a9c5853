"""The specification: what every node of the graph language means, in float64, and how far float32 may stray from it.

    kinds/          what every node kind means, a file for each; the docstrings of `value` are the specification
    specification.py  what the kinds say of themselves, as one text
    interpreter.py  evaluates a graph node by node
    exact.py        where a float32 evaluation has no freedom at all: every partial sum is exact
    walk.py         what these two have in common: arguments checked, layers in order, what lies behind a layer
    evaluation.py   one layer while a graph is evaluated: what its kind is given, and how its result is completed
    stepping.py     the same for exactness
    tensor.py       a tensor while a graph is evaluated
    windows.py      windows of convolutions and pooling as plain numbers
    fast.py         weighted sums as matrix products, held to the definition by a property test
    accumulation.py variance of a float32 accumulation around the real value
    lines.py        filters and windows cut into lines, as an accumulation goes through them
    runs.py         how far partial sums wander where the signs of products are not random
    residues.py     roundings that are not independent: equal terms, equal stored weights
    running.py      what sums of such terms err by, by doing them in one order
    grid.py         the numbers of a binade, to which a sum rounds its terms
    folding.py      batch norms that may become part of the layer before them
    normalized.py   errors of a normalization over channels
    pairs.py        functions of two tensors; extremes.py has the larger and the smaller one
    moving.py       elements that are moved, with all that is known of their errors
    exchange.py     averages that may be taken before the 1x1 convolution that they read
    alike.py        random signs that equal numbers have in common
    shares.py       samples of errors that elements have in common, as they add up the same products
    samples.py      samples of the error, which show what of it elements have in common
    tiles.py        Winograd's algorithm and the Fourier transform as linear maps, and how their own roundings grow
    tiling.py       the tiles of a convolution: what each sees, where its results stand
    tiled.py        the errors of a convolution that is computed tile by tile
    by_tiles.py     such a convolution in a graph: its variance, where nothing is promised
    tiled_exact.py  where such a convolution has no freedom
    lifting.py      weights that are multiplied by a power of two before they are stored, and their sums
    domain.py       where nothing is promised: overflow, and whatever depends on it
    roundoff.py     errors of single roundings
    bfloat16.py     numbers rounded to bfloat16 before they are multiplied, and what becomes of their errors
    storing.py      tensors that are stored in a narrower format
    rounding.py     what a particular implementation of a layer adds to the variance

Nothing of the compiler but the graph itself is imported here: the specification must not share a bug with what it
judges.
"""

from reference.exact import exactness
from reference.interpreter import run
from reference.rounding import BFLOAT16, FOLDED_BFLOAT16, HALF_WEIGHTS, Rounding
from reference.tensor import Result
from reference.tiles import Axis, Fourier, Tiles, Winograd
from reference.walk import long_sums

__all__ = [
    "BFLOAT16",
    "FOLDED_BFLOAT16",
    "HALF_WEIGHTS",
    "Axis",
    "Fourier",
    "Result",
    "Rounding",
    "Tiles",
    "Winograd",
    "exactness",
    "long_sums",
    "run",
]
