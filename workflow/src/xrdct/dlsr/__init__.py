"""Direct least-squares reconstruction (DLSR): parameters of voxels fitted to the sinogram itself, with parallax.

Scales and cells of every voxel give its pattern (`fit.model`), all patterns the projections along tilted rays
(`reconstruction.tilted`), and these what was measured: nothing in between is stored but one volume, so that there is no
matrix to grow with the square of the map. Vamvakeros et al., J. Appl. Cryst. 53, 1531, 2020, named the method.
"""
