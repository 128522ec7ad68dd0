"""Noise2Inverse: a denoiser trained on the noisy scan itself, by predicting one part of the data from the others.

The parts of a volume are one array ``[channel, part, y, x]``, so that all that belongs to one channel lies together;
it may stay on disk (a NumPy memory map or a Zarr array), channels are read one at a time.
Hendriksen, Pelt & Batenburg, IEEE Trans. Comput. Imaging 6, 1320, 2020, doi:10.1109/TCI.2020.3019647.
"""
