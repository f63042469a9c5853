"""C text: the writer, names, and the parts of an emitted file that do not depend on the kind of a layer.

writer.py     the object through which text is written
names.py      names that are taken; expressions.py, index arithmetic; literals.py, numbers;
              intrinsics.py, what of <immintrin.h> is used
code.py       what kernels hand over: layers and the routines that they share
comments.py   the comment above every layer
header.py     the emitted header
net.py        the emitted source; threads.py, its thread team
driver.py     a program around it, with parameters and tensors in files
"""
