"""Many cases: drawn, checked in processes, shrunk where they fail, kept and counted.

campaign.py    the parent: hands out work, ends everything
worker.py      a process that checks chunk after chunk
explore.py     a chunk: Hypothesis draws cases from a seed and shrinks a failure
constants.py   the same cases from a seed, wherever the project stands
reduce.py      a failing graph made smaller still
findings.py    failures kept as folders
corpus.py      cases as text, replayed first (../corpus)
in_flight.py   the case under way, should its process die
tally.py       what was counted, and the summary
progress.py    a line about the state of things
measure.py     the table of error limits, measured anew (a program)
"""
