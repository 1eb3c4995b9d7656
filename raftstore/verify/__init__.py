"""Pure checkers of what clients saw and members applied; each returns what is wrong, in words.

Belongs here: histories and the promises that they must keep. Does not belong here: I/O, clocks.
"""
