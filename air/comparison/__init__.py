"""Runs side by side, read from their folders alone; `compare` in `report.py` does it all.

reading -> settings -> table, unfinished, effects -> pictures -> report; none of it needs torch.
"""
