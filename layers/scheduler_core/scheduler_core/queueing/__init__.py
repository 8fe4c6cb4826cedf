"""Redis, a cache of what is ready: rebuilt from PostgreSQL whenever it is lost."""
