"""The same arithmetic sooner: without this package everything still trains."""
