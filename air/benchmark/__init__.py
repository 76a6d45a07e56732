"""What AIR costs and how soon it is good: step times, growth, accuracy, start and throughput.

`scripts/benchmark.py` chooses what is measured and prints it.
"""
