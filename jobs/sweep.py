"""Up to the sweep, without ensemble and student: ray job submit --address http://HEAD:8265 -- python jobs/sweep.py CONFIG [options]."""

import sys

from heliostat.cli import main
from heliostat.commands.submit import JOBS

sys.exit(main(["run", *sys.argv[1:], *JOBS["sweep"]]))
