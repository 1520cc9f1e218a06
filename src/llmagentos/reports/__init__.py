"""Pages and plots from records."""
