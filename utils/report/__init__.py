"""report.html: the page that shows a result, lets people correct it, and exports it."""
