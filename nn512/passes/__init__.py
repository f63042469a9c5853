"""The optimizing middle: a graph is lowered to a program of operations, and pure functions rewrite the program.

lower.py      graph to program: one operation per node
pipeline.py   all passes, in the order in which they run
rewrite.py    what a pass is; rewriting.py, what passes share
effects.py    what each pass did; roles.py, why every node is where it is; pixels.py, which pixels a layer computes

The passes themselves are one module each; `nn512 explain` says what each is good for.
"""
