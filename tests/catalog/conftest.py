from catalog.registry_fixtures import database, sqlite_database, url

__all__ = ["database", "sqlite_database", "url"]
