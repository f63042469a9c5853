"""What is drawn: graphs over the whole language, options, cases (every Hypothesis strategy of the project), and data.

A graph is drawn as a list of wishes, one per layer, made of small integers; `grow` turns wishes into nodes and bends
whatever would be illegal or too large into the nearest legal thing. So every draw is a legal graph, no draw is thrown
away, and since a wish means the same wherever it stands, Hypothesis can delete and shrink wishes independently.

    sizes.py        sizes around the width of a vector
    kinds/          the kinds of layers: what can be wished for, the node that comes of it, what data do about it
    weights.py      strategies drawn as often as asked
    wishes.py       one layer of any kind
    again.py        a layer once more, or nearly
    situations.py   several layers in a row, as nets have them
    decisions.py    for every decision of passes and about layouts layers about which it is made;
                    kernel_decisions.py: the same for kernels, with options
    grower.py       a graph while it grows, within bounds; growth.py: wishes to nodes
    whole.py        whole graphs, options, cases
    edges/          nets that have every edge class of every kernel, one by one
    aimed.py        numbers at the borders of tiles and blocks, and nowhere else
    regimes.py      which numbers a net is run on
"""

from fuzz.draw.grower import GRAPH_WORK, TENSOR_ELEMENTS, WEIGHTS
from fuzz.draw.whole import cases, graphs, node_lists, options, stages

__all__ = ["GRAPH_WORK", "TENSOR_ELEMENTS", "WEIGHTS", "cases", "graphs", "node_lists", "options", "stages"]
