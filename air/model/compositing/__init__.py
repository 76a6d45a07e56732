"""How objects that share a canvas make one image: a file for each kind."""
