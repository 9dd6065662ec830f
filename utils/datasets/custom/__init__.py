"""Custom data: tables, checks, preparation, importers."""
