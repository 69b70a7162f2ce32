"""File formats of vector sets, one file each."""
