"""How emitted C is run: built into a driver program, and executed where nothing it does can hurt the tester.

interface.py      what a driver must know of a net
build.py          driver programs out of a header and a source, whoever emitted them
runners/          ways to execute them: native, sde, soft, bochs
emulator/         the machine that bochs runs them in
checks.py         what a run checks, and its bounds
driver/           the driver in C; it watches everything besides values
protocol.py       the bytes that it and the tester exchange
sandbox.py        a child process with bounds of time and memory
statics.py        static data that a net can write, in the symbols of its program
ended.py          how a driver ended, wherever it ran
outcome.py        what a run showed
"""
