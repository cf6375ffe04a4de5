"""The command line. Nothing heavy is imported before a command has been understood."""

import contextlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from shattering.cli.capacity import FindShatterPoint, MeasureBits, MeasureRademacher, MeasureStability
        "interrogate": Interrogate,
        "measure": Measure,
