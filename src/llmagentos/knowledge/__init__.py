"""Facts with sources and full-text search."""
