"""`python -m model.export`: see `model/export/command.py`."""

import sys

from model.export.command import main

if __name__ == "__main__":
    sys.exit(main())
