"""Figures of what a model sees, finds and makes up."""
