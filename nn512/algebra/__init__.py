"""The algebra of fast convolution: exact matrices of tile algorithms, and programs that apply them.

cook_toom.py   bilinear algorithms that compute outputs of a filter from few products
linear.py      a matrix as straight-line code with few operations
"""
