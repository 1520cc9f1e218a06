"""The only door to the system's database, blobs and locks."""
