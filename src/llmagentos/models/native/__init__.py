"""Kernels in C for a processor, compiled where they run: `build` makes the library, the other files are its source.

In: arrays. Out: arrays. They know a decoder's arithmetic and nothing above it.
"""
