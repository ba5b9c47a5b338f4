"""Feast's own client of a remote online store, and the same without a server between.

remote.py REPOSITORY VERB, where `direct.yaml` has the Redis itself and `remote.yaml` the server:
  fill  writes the rows of every view to Redis, and pushes those of one
  send  writes rows of one view through the server
  read  prints JSON {"direct": …, "remote": …}: columns of the service as each store answers
"""

import base64
import datetime as dt
import decimal
import json
import os
import sys
import uuid
from pathlib import Path

import pandas as pd
from feast import FeatureStore

# Nothing of the machine's may come between.
os.environ["NO_PROXY"] = "*"
WRITTEN = dt.datetime(2024, 2, 1, 1, 2, 3, 456789, tzinfo=dt.timezone.utc)
# Rows 1 and 2 are Feast's, 11 and 12 come through the server, 404 nobody writes.
FEASTS, OURS, NOBODY = [1, 2], [11, 12], 404


def frame(definitions, view, things):
    """The rows of a view, each value as a Python of its type."""
    columns = {"thing_id": things}
    for feature, (_, values) in definitions.VIEWS[view].items():
        columns[f"{view}_{feature}"] = values
    columns["event_timestamp"] = [pd.Timestamp(WRITTEN)] * len(things)
    columns["created"] = [pd.Timestamp(WRITTEN)] * len(things)
    return pd.DataFrame(columns)


def plain(value):
    """A value as both stores give it: JSON has fewer types than Feast."""
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=dt.timezone.utc)
        return int(aware.timestamp() // 1)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (uuid.UUID, decimal.Decimal)):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def read(store):
    """The service's columns for every row that there may be."""
    things = [*FEASTS, *OURS, NOBODY, FEASTS[0]]
    rows = [{"thing_id": thing} for thing in things]
    service = store.get_feature_service("everything")
    columns = store.get_online_features(features=service, entity_rows=rows).to_dict()
    shown = {}
    for name, values in columns.items():
        values = [plain(value) for value in values]
        if name.endswith("_json"):
            # Feast reads the text of what it has stored itself, and not that of a server.
            values = [json.loads(value) if isinstance(value, str) else value for value in values]
        if name.endswith("_set"):
            values = [value if value is None else sorted(value, key=str) for value in values]
        shown[name] = values
    return shown


def main(repository, verb):
    sys.path.insert(0, repository)
    import definitions

    def store(name):
        return FeatureStore(repo_path=repository, fs_yaml_file=Path(repository) / f"{name}.yaml")

    if verb == "fill":
        direct = store("direct")
        for view in ("sent", "kept"):
            direct.write_to_online_store(view, frame(definitions, view, FEASTS))
        direct.push("pushed_push", frame(definitions, "pushed", FEASTS))
    elif verb == "send":
        remote = store("remote")
        remote.write_to_online_store("sent", frame(definitions, "sent", OURS))
    elif verb == "read":
        print(json.dumps({name: read(store(name)) for name in ("direct", "remote")}))
    else:
        sys.exit(f"no such verb: {verb}")


if __name__ == "__main__":
    main(*sys.argv[1:])
