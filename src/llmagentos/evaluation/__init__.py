"""Suites, metrics, statistics and the gate."""
