"""One training: from its configuration to a run that is finished, or can be resumed."""
