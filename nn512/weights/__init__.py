"""Trained weights as frameworks store them, made the parameters of a graph.

stored.py       an array in such a file: its shape is known before it is read
safetensors.py  reads .safetensors
torch_file.py   reads .pt and .pth: what torch.save wrote of a state dict
names.py        which array is which parameter: by names, or by a map of names
fitting.py      shapes, missing biases; everything that does not fit is listed at once
files.py        all of it, for a file whatever its kind
"""

from nn512.weights.files import load_weights
from nn512.weights.fitting import Liberties, fit
from nn512.weights.names import read_map
from nn512.weights.stored import Stored

__all__ = ["Liberties", "Stored", "fit", "load_weights", "read_map"]
