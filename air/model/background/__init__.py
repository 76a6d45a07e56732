"""What lies behind the objects: a file for each kind."""
