"""Sinograms to images: one algorithm, one file."""
