"""Learners: episodes and practice to candidates."""
