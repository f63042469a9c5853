"""The differential tester: random graphs, compiled, built, run in a sandbox, compared with the reference.

    campaign/     many cases: explored, reduced, kept, counted
    judge/        one case: is what a target made of it right?
    draw/         graphs, options and data
    run/          programs out of C, and a sandbox for them
    floats.py     errors of elementary functions, over all floats
    targets/      what can be put under test: our compiler, a folder of C, whatever answers the protocol
    case.py       a case as plain data; problem.py: what can be wrong with it
    corpus/       known cases, as text

Imports go down this list only (pyproject.toml, import-linter): draw, run and targets know nothing of each other.
"""
