"""`python -m gradwire` is `gradwire`: the working folder, which -m puts first on Python's path, is not on it."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]

from gradwire.start import main

if __name__ == "__main__":
    main()
