"""What Feast reads in the registry: registry.py REPOSITORY CONFIGURATION.

Prints JSON: view to {"intervals": [[start, end], …], "state": …, "tags": …, "features": …,
"ttl_seconds": …}, with instants as Feast has them, in UTC.
"""

import json
import sys
from pathlib import Path

from feast import FeatureStore

store = FeatureStore(repo_path=sys.argv[1], fs_yaml_file=Path(sys.argv[2]))
views = {}
for view in store.list_feature_views(allow_cache=False):
    intervals = [
        [start.isoformat(), end.isoformat()] for start, end in view.materialization_intervals
    ]
    views[view.name] = {
        "intervals": intervals,
        "state": view.state.name,
        "tags": dict(view.tags),
        "features": sorted(feature.name for feature in view.features),
        "ttl_seconds": view.ttl.total_seconds() if view.ttl else 0,
    }
print(json.dumps(views))
