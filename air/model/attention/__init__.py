"""Where the guide looks next: a file for each kind."""
