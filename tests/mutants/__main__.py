"""`make mutants`."""

import sys

from mutants.plant import main

sys.exit(main(*sys.argv[1:]) > 0)
