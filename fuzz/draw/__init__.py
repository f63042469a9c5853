"""What is drawn: graphs over the whole language, options, cases (every Hypothesis strategy of the project), and data.

A graph is drawn as a list of wishes, one per layer, made of small integers; `grow` turns wishes into nodes and bends
whatever would be illegal or too large into the nearest legal thing. So every draw is a legal graph, no draw is thrown
away, and since a wish means the same wherever it stands, Hypothesis can delete and shrink wishes independently.

    wishes.py       one layer: what can be asked for, and what is drawn
    situations.py   several layers in a row: what the passes look for
    growth.py       wishes to nodes of a legal graph of bounded size
    whole.py        whole graphs, options, cases
    regimes.py      which numbers a net is run on
"""

from fuzz.draw.growth import GRAPH_WORK, TENSOR_ELEMENTS, WEIGHTS
from fuzz.draw.whole import cases, graphs, node_lists, options, stages

__all__ = ["GRAPH_WORK", "TENSOR_ELEMENTS", "WEIGHTS", "cases", "graphs", "node_lists", "options", "stages"]
