"""`python -m nn512` is `nn512`."""

import sys

from nn512.cli import main

sys.exit(main())
