"""The specification: what every node of the graph language means, in float64, and how far float32 may stray from it.

    ops.py          one short declarative function per node kind; the docstrings are the specification
    fast.py         convolution as matrix products, held to the definition by a property test
    variance.py     variance of a float32 evaluation around the real value, one function per node kind
    lines.py        filters and windows cut into lines, as an accumulation goes through them
    runs.py         how far partial sums wander where the signs of products are not random
    residues.py     roundings that are not independent: equal terms, equal stored weights
    grid.py         the numbers of a binade, to which a sum rounds its terms
    folding.py      batch norms that may become part of the layer before them
    alike.py        random signs that equal numbers have in common
    samples.py      samples of its error, which show what of it elements have in common
    domain.py       where nothing is promised: overflow, and whatever depends on it
    exact.py        where a float32 evaluation has no freedom at all: every partial sum is exact
    exchange.py     averages that may be taken before the 1x1 convolution that they read
    interpreter.py  evaluates a graph node by node
    tensor.py       a tensor while that is done
    rounding.py     what a particular implementation of a layer adds to the variance
    walk.py         what interpreter.py and exact.py have in common: arguments checked, layers in order

Nothing of the compiler but the graph itself is imported here: the specification must not share a bug with what it
judges.
"""

from reference.exact import exactness
from reference.interpreter import run
from reference.rounding import HALF_WEIGHTS, Rounding
from reference.tensor import Result

__all__ = ["HALF_WEIGHTS", "Result", "Rounding", "exactness", "run"]
