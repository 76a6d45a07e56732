"""How AIR learns: an estimator a file, terms that teach the guide, and the objective of both."""
