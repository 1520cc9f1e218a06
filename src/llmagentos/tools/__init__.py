"""Typed tools, permissions and the audit chain."""
