"""Bundles: versions with all that they need in one file, to be mailed.

A bundle is an uncompressed zip: ``manifest.json`` first, then members by digest, and last the signature of the manifest
where somebody signed it. Nothing in it is ever taken out by its name.
"""
