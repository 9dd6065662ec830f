"""Output files of one video: results, tables, timeline, marked video."""
