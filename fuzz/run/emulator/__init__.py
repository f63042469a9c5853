"""Bochs, an emulator that executes AVX-512 on any processor, as a machine that runs driver programs.

parts.py    what it takes: packages and a kernel, found or told to be missing
image.py    the disc it boots from, made once
mailbox.py  the disk over which jobs go in and results come out
machine.py  the emulator's process, stopped while it has nothing to do
known.py    a program whose answers are known, which tells a broken emulator
mended.py   emitted C without what an emulator is known to get wrong
service.py  the machine of this process: booted once, tried, kept
guest/      the program that runs inside, in C
"""
