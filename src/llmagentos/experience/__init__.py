"""Episodes, stored and selected: what learners and evaluation read of what agents did."""
