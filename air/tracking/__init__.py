"""Where a run's figures go: `metrics.jsonl` always, and a service if one is configured."""
