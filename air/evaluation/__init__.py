"""How good a trained model is: an evaluator a file."""
