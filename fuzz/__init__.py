"""The differential tester: random graphs, compiled, built, run in a sandbox, compared with the reference.

strategies/                every Hypothesis strategy: graphs over the whole language, options, cases
case.py, regimes.py        a case as plain data; which numbers a net is run on
build.py, interface.py     driver programs out of emitted C
runners/                   ways to execute them: native, sde, soft
sandbox.py, driver/        a child process that watches everything besides values
checker.py                 one check of one case, and what it showed
compare.py, limits.py      the verdict on an output, and the table of error limits (measure.py measures it anew)
explore.py, campaign.py    a chunk of random cases, shrinking; worker processes, progress, Ctrl-C
reduce.py, findings.py     failures made small and kept as folders; corpus/, replayed first
coverage.py, report.py     kernels and edge classes reached; the summary
mutants.py                 planted bugs, to see that they are found
"""
