"""The same arithmetic sooner: an eager step needs none of it but the number of threads."""
