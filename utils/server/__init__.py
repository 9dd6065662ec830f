"""The local page: upload videos, watch their analysis, open and correct the reports."""
