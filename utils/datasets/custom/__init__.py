"""The user's own data: tables, checks, preparation, importers."""
