"""A folder as a remote: each version in a bundle of its own, for those who share a disk and no registry.

Others write to such a folder too, so its bundles are read as mailed ones are: as something that anybody may have made.
"""
