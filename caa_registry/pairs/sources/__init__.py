"""Where pairs come from: files, the hub and the packaged seed sets."""

from caa_registry.pairs.sources.formats import FORMATS
from caa_registry.pairs.sources.load import load, load_splits, read_source
from caa_registry.pairs.sources.notes import shortened
from caa_registry.pairs.sources.seeds import SeedSet, seed_sets

__all__ = ["FORMATS", "SeedSet", "load", "load_splits", "read_source", "seed_sets", "shortened"]
