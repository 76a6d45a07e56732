"""Images to train on and to evaluate on, with the truth where it is known."""
