"""Everything written for one video: results, tables, timeline, marked video."""
