"""Vector file formats, one file per format."""
