"""Published results reproduced: tables of runs, kept as CSV, that write RESULTS.md."""
