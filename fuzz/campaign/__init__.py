"""Many cases: drawn, checked in processes, shrunk where they fail, kept and counted.

campaign.py    the parent: hands out work, ends everything
worker.py      a process that checks chunk after chunk
explore.py     a chunk: Hypothesis draws cases from a seed and shrinks a failure
constants.py   the same cases from a seed, wherever the project stands
origin.py      names of drawn cases, from which they are drawn again
shrink.py      a failing case made small
reduce.py      a failing graph made small
effort.py      what may be spent on that
probes.py      relatives of a small case, which tell what belongs to the fault
identity.py    what a fault is known by
findings.py    failures kept as folders
program.py     a failure as a C program
stored.py      what such a folder holds, replayed
corpus.py      cases as text, replayed first (../corpus)
in_flight.py   the case under way, should its process die
tally.py       what was counted, and the summary
progress.py    a line about the state of things
emulated.py    the same program on the processor and in the emulator (a program)
measure.py     the table of error limits, measured anew (a program)
"""
