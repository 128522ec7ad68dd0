"""Full-profile fit: which phases are in a pattern, how much of each, and how large their cells are.

A phase set (`phase_set`) says what is looked for: for every phase its lines, its cell (`cells`) with the limits of what
may change, its size and its density. A model of the pattern is made from it, fitted to the mean pattern of a scan,
and then to every voxel.
"""
