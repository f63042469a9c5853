"""The optimizing middle: a graph is lowered to a program of operations, and pure functions rewrite the program."""
