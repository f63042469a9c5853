"""From program to plan: layouts, lifetimes and places in memory.

layout.py          the blocked layout; layouts.py, which one each result has
conv_geometry.py   axes and tiles of a convolution; tile_grid.py, tiles of results that are computed together
cost.py            work in microseconds; accuracy.py, what narrow formats err
laying.py          operations with layouts; planes.py, those that read a tensor of the caller as it is
workspace.py       working memory of a layer
placing.py         lifetimes and places of tensors; arena.py, how places are found
plan.py            the plan; serial.py, as JSON; explain.py, in words; advice.py, which sizes would waste less
"""
