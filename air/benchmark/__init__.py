"""What AIR costs and how soon it is accurate: step times, growth, accuracy, start and throughput.

`scripts/benchmark.py` chooses what is measured and prints it.
"""
