"""Whether what a target made of a case is right.

checker.py    one check of one case: prepare, build, run, compare
answers.py    the same of systems that answer by themselves
localize.py   the layer at fault, from what layers leave in the net's memory
telling.py    what a check showed, as lines for people
report.py     the same as data
standard.py   what tensors are held to
steps.py      how far a check is
clock.py      what its stages take
place.py      a layer at fault
folding.py    problems of one kind as one
compare.py    the verdict on an output
pattern.py    what wrong elements have in common
window.py     what is around the worst of them
limits.py     the table of error limits
algorithms.py how each long sum is evaluated, by the plan
profiles.py   the same for C that has no plan
layers.py     what a plan says about layers, and which of them an output depends on
memory.py     what layers may touch of their engine's memory, by the plan
coverage.py   kernels and edge classes reached
lines.py      lines of emitted C executed, by what they have in common in all nets
"""
