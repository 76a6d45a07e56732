"""What a command is asked to do: unites the packages' schemas, and parses plain values into them.

Nothing here imports torch, so a wrong configuration is reported before anything heavy is loaded;
and nothing here knows Hydra, which only `air.cli` does."""
