"""Many cases: drawn, checked in processes, shrunk where they fail, kept and counted.

verifying.py   nets that somebody names
campaign.py    the parent: hands out work, counts, keeps
crew.py        workers that do it, and may die
cluster.py     such workers on a Dask cluster
worker.py      a process that checks chunk after chunk
explore.py     a chunk: Hypothesis draws cases from a seed, each is checked, and a failure made small
edges.py       nets for all edge classes of a kernel instead of random ones
counted.py     a check that also counts lines of the C
layerwise.py   the edge classes of a net's layers, each layer alone on data aimed at them
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
named.py       kernels as users name them
corpus.py      cases as text, replayed first (../corpus)
ledger.py      which chunks are done, under way, still to come; shards
state.py       how far a campaign got, in a file
atomic.py      files written whole
scratch.py     folders that do not outlive the next run
in_flight.py   the case under way, should its process die
tally.py       what was counted, and the summary
times.py       what took how long
account.py     what reports tell; merged campaigns
reports.py     the same for machines: JSON, JUnit, GitHub, Markdown
html/          the same as a page
progress.py    how far it is
display.py     the same on terminals, and elsewhere
comparing.py   random cases of every kernel, done in several ways that must agree
matrix.py      the same C from all compilers, at all levels, in all dialects (a program)
portable.py    the same C on the processor and with portable intrinsics (a program)
emulated.py    the same program on the processor and in the emulator (a program)
measure.py     the table of error limits, measured anew (a program)
"""
