"""The command line: parses, calls the Registry, prints."""
