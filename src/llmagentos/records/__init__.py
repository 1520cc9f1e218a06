"""Frozen facts that flow between rooms. They know nothing of each other's users and do no I/O."""
