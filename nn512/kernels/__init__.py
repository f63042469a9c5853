"""One module per algorithm: each prices and emits the layers of a kind of operation, and packs their weights.

interface.py         what a kernel answers, and what it is told
edges.py             edge classes: the cases that a kernel's code has
deciding.py          what kernels of several kinds may decide
registry.py          all kernels
selection.py         which kernel computes a layer; storing.py: which tensors are stored as pairs of bfloat16
emitting.py          the layers of a net as C; sharing.py, bodies.py: the bodies that they share
layer.py             how step functions begin
chain/               element-wise steps on values in registers; elementary.py: functions that these call, such as tanh
convolution.py       direct convolution; pointwise.py, planar.py: two that differ from it in what is outermost or read
bfloat16.py          the same on pairs of bfloat16; planar_pairs.py: of a picture's columns
paired_source.py     what is read, as pairs of bfloat16; paired_columns.py: as pairs of columns;
                     paired_weights.py, packing_pairs.py: weights as such
conv_deciding.py     what these decide, each for some reason
conv_blocking.py     how these are cut up; conv_tile.py, their inner loops; conv_cost.py, what they cost
sliding.py           what depthwise.py and grouped.py have in common; sliding_tile.py, their inner loops
grouped_pairs.py     grouped convolution on pairs of bfloat16
winograd.py          Winograd convolution; winograd_transforms.py: its transforms in C
fourier.py           convolution by Fourier transforms; fourier_tile.py: of a tile; fourier_transforms.py,
                     fourier_lines.py: in C, of a tile and of a line of it
tile_cut.py          what both have in common: how a layer is cut into tiles; tile_layer.py, tile_parts.py: its text;
                     products.py, complex_products.py: their inner loops; tile_results.py: how their results are stored
tiles.py             what all tile routines have in common
packing.py           C that packs parameters; packing_full.py, packing_grouped.py: that of other layouts;
                     packing_tiles.py, packing_winograd.py, packing_fourier.py: that of transformed weights;
                     packing_halves.py: that of halves
grouped_weights.py   the packed weights that packing_grouped.py makes
fully_connected.py   layers that use every weight once; full_panel.py: their inner loops;
                     fully_connected_pairs.py: the same on pairs of bfloat16
pooling_columns.py   the columns of a pooling's result by what their windows see
pooling.py           pooling, sampling; softmax.py, elementwise.py, copying.py, border.py: as they are called
channel_norm.py      normalization over channels; packing_lanes.py: its parameters; lrn.py: over neighbours;
                     powers.py: the powers that takes
picking.py           slices and shuffles; gathering.py: a block out of lanes of others
streaming.py         the price of operations that do little more than read and write
"""
