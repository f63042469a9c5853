"""Whether what a target made of a case is right.

checker.py    one check of one case: prepare, build, run, compare
report.py     what a check showed
compare.py    the verdict on an output
limits.py     the table of error limits
algorithms.py how each long sum is evaluated, by the plan
profiles.py   the same for C that has no plan
layers.py     what a plan says about layers, and which of them an output depends on
coverage.py   kernels and edge classes reached
"""
