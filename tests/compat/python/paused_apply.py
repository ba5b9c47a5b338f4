"""`feast apply` that waits between reading feature views' rows and writing them.

paused_apply.py REPOSITORY CONFIGURATION PAUSED GO_ON: makes the file PAUSED once the first row has
been read, and goes on when the file GO_ON is there. Only the moment is chosen here: Feast reads a
row, keeps its intervals in memory and writes the whole row later, without a lock.
"""

import os
import sys
import time

from feast import FeatureView
from feast.cli.cli import cli

repository, configuration, paused, go_on = sys.argv[1:]
keep_intervals = FeatureView.update_materialization_intervals


def wait_then_keep(view, existing):
    """Feast calls this between the two: `existing` is what it has read."""
    open(paused, "w").close()
    while not os.path.exists(go_on):
        time.sleep(0.01)
    return keep_intervals(view, existing)


FeatureView.update_materialization_intervals = wait_then_keep
sys.argv = ["feast", "-c", repository, "-f", configuration, "apply"]
cli()
