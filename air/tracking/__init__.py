"""Where a run's metrics go: `metrics.jsonl` always, and a service if one is configured."""
