"""Content-addressed bytes. Knows no row of the catalogue."""
