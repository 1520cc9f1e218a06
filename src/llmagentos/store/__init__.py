"""The only door to the system's database, blobs and locks.

In: records of every room. Out: the same records after a restart, a crash or a loss of power, as each kind promises.
It does not know what any record means: the rooms above give rows their meaning.
"""
