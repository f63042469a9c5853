"""One module per algorithm: each prices and emits the layers of a kind of operation, and packs their weights.

interface.py   what a kernel answers, and what it is told
registry.py    all kernels
selection.py   which kernel computes a layer
emitting.py    the layers of a net as C, and the bodies that they share
"""
