"""Episodes, stored and selected."""
