"""The database's schema, one step a file in `versions/`, each with a working downgrade."""
