"""`python -m headstart`: the same as the command `headstart`.

The working folder, which Python puts on the import path here, may hold a file `numpy.py` or `pathlib.py` of the user's:
it leaves the path before anything is imported, unless the package itself lies in it.
"""

import os
import sys

if sys.path[0] == os.getcwd() != os.path.dirname(os.path.dirname(os.path.abspath(__file__))):  # noqa: PTH100, PTH109, PTH120
    del sys.path[0]

from headstart.cli.app import main

if __name__ == "__main__":  # documentation imports every module
    main()
