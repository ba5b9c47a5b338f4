"""Reads the feature service's features of every entity through Feast, and says what they must be.

served.py REPOSITORY CONFIGURATION END: rows up to END have been materialized. Prints JSON
{"served": …, "expected": …}; what is expected is computed from the Parquet files alone.
"""

import datetime as dt
import json
import sys

import pyarrow.dataset as ds
from feast import FeatureStore

SERVICE = "attrition_v1"
# View to source, join keys and features; a feature that has another name in the source says so.
VIEWS = {
    "employee_profile": (
        "profile",
        ["employee_id"],
        "age level salary satisfaction overtime title hired_at skills ratings projects".split(),
    ),
    "department_stats": (
        "department.parquet",
        ["department_id"],
        "headcount attrition_rate budget site".split(),
    ),
    "assignment": ("assignment.parquet", ["employee_id", "department_id"], ["share=pct", "since"]),
    "company": ("company.parquet", [], ["open_positions"]),
}


def plain(value):
    """A value as JSON has it: timestamps are whole seconds, as the online store keeps them."""
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=dt.timezone.utc)
        return int(aware.timestamp() // 1)
    return value


def latest(directory, source, keys, end):
    """The newest row of each key up to END: by event time, then by created time."""
    newest = {}
    for row in ds.dataset(f"{directory}/{source}").to_table().to_pylist():
        if row["event_time"] > end:
            continue
        key = tuple(row[name] for name in keys)
        order = (row["event_time"], row["created"])
        if key not in newest or order > newest[key][0]:
            newest[key] = (order, row)
    return {key: row for key, (_, row) in newest.items()}


def entities(directory):
    """Every pair of an employee and a department, and one of neither."""
    table = ds.dataset(f"{directory}/assignment.parquet").to_table()
    rows = table.select(["employee_id", "department_id"]).to_pylist()
    pairs = sorted({(row["employee_id"], row["department_id"]) for row in rows})
    return [*pairs, (123_456_789, "nobody's")]


def main(repository, configuration, end):
    directory = f"{repository}/data"
    end = dt.datetime.fromisoformat(end)
    pairs = entities(directory)
    asked = [{"employee_id": e, "department_id": d} for e, d in pairs]
    store = FeatureStore(repo_path=repository, fs_yaml_file=configuration)
    served = store.get_online_features(
        features=store.get_feature_service(SERVICE), entity_rows=asked
    ).to_dict()

    expected = {name: [row[name] for row in asked] for name in ("employee_id", "department_id")}
    for source, keys, features in VIEWS.values():
        newest = latest(directory, source, keys, end)
        for feature in features:
            name, _, column = feature.partition("=")
            rows = [newest.get(tuple(row[key] for key in keys), {}) for row in asked]
            expected[name] = [row.get(column or name) for row in rows]
    if not any(value is not None for column in expected.values() for value in column):
        sys.exit("nothing is expected; the data does not fit")
    as_json = [{k: [plain(v) for v in vs] for k, vs in side.items()} for side in (served, expected)]
    print(json.dumps(dict(zip(("served", "expected"), as_json))))


if __name__ == "__main__":
    from pathlib import Path

    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
