"""Processes, system calls, scheduling and the journal."""
