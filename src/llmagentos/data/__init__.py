"""Sources to clean documents."""
