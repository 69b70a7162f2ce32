"""Vector files: the registry's own, and those of other tools, each format a module and a line in ``format.FORMATS``."""
