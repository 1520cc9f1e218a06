"""Typed tools and who may call them; decisions go to the log that the store keeps."""
