"""What is live and what was: the only writer of the live release."""
