"""The whole story as a Ray job: ray job submit --address http://HEAD:8265 -- python jobs/full.py CONFIG [options of heliostat run]."""

import sys

from heliostat.cli import main

sys.exit(main(["run", *sys.argv[1:]]))
