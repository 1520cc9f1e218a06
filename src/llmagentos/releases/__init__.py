"""The only writer of the live release."""
