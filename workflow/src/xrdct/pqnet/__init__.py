"""PQ-Net: networks that read phases and cells off a pattern, and say how sure they are.

The fit's own model makes patterns with known parameters (`library`), several networks learn to turn noisy patterns back
into parameters (`scaling`, `network`, `training`), their error bars are calibrated on patterns that they never saw
(`calibration`), and patterns unlike any of them are recognised (`novelty`). `ensemble` is what all of this makes
together; `refine` takes two steps of the full-profile fit from its answer, in a volume with what its voxels have in
common (`population`), which is also no reason to call one of them strange (`allowance`).
Dong et al., npj Comput. Mater. 7, 74, 2021, doi:10.1038/s41524-021-00542-4.
"""
