"""Runs beside one another, read from their folders alone: `compare` in `report.py` is the whole.

reading -> settings -> table, unfinished, effects -> pictures -> report; none of it needs torch.
"""
