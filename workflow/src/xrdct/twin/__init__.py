"""The digital twin: a simulator that writes the raw files of a beamtime, with the truth beside them.

It shares no numerical kernel with the pipeline (no projection, profile, intensity or geometry code), so that a
mistake on either side shows.
"""
