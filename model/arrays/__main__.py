"""`python -m model.arrays`: see `model/arrays/command.py`."""

import sys

from model.arrays.command import main

if __name__ == "__main__":
    sys.exit(main())
