"""The catalogue: typed SQLAlchemy models, the Database that reads and writes them, and its upgrades."""
