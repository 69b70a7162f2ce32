"""``python -m caa_registry`` is ``caa``."""

from caa_registry.cli.main import main

main()
