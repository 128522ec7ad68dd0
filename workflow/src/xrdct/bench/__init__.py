"""Measurements of each step's marks, accuracy and speed: `python3 run.py bench NAME [--json FILE]`."""
