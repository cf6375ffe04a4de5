"""`python -m shattering`."""

import sys

from shattering.cli import main

sys.exit(main())
