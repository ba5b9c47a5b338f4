"""Views with features of every type that Feast's own remote client can read, for `feast apply`.

Left out is what that client fails on whichever server it asks: empty lists and maps, whose types
it cannot tell, lists in lists, and a NaN among numbers, which is a text in JSON.
"""

import datetime as dt
import decimal
import uuid

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
)

WHEN = [
    dt.datetime(2024, 1, 1, 12, tzinfo=dt.timezone.utc),
    dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=dt.timezone.utc),
]
UUIDS = [str(uuid.UUID(int=7)), str(uuid.UUID(int=2**127 + 1))]
# Type and the values of two rows, of features that the client can also send.
SENT = {
    "int32": (Int32, [7, -(2**31)]),
    "int64": (Int64, [2**53 + 1, -(2**63)]),
    "float32": (Float32, [0.5, -2.25]),
    "float64": (Float64, [0.1, 1.7976931348623157e308]),
    "string": (String, ["héllo\n", ""]),
    "bool": (Bool, [True, False]),
    "time": (UnixTimestamp, WHEN),
    "json": (Json, ['{"a": [1, 2.5, null]}', '[true, "x"]']),
    "map": (Map, [{"a": 1, "b": "x"}, {"c": {"d": 2.5}}]),
    "struct": (Struct({"a": Int64, "b": String}), [{"a": 1, "b": "x"}, {"a": -1, "b": ""}]),
    "uuid": (Uuid, UUIDS),
    "time_uuid": (TimeUuid, UUIDS),
    "int32s": (Array(Int32), [[1, -2], [2**31 - 1]]),
    "int64s": (Array(Int64), [[2**53 + 1], [-(2**63), 0]]),
    "float32s": (Array(Float32), [[0.5], [-2.25, 0.0]]),
    "float64s": (Array(Float64), [[0.1, 5e-324], [1e300]]),
    "strings": (Array(String), [["a", ""], ["空港"]]),
    "bools": (Array(Bool), [[True, False], [False]]),
    "times": (Array(UnixTimestamp), [WHEN, WHEN[:1]]),
}
# Of these, the client makes what no JSON can hold.
KEPT = {
    "bytes": (Bytes, [b"\x00\xff\x01", b"a"]),
    "byte_list": (Array(Bytes), [[b"\x00\xff", b"ab"], [b"a"]]),
    "decimal": (Decimal, [decimal.Decimal("1.50"), decimal.Decimal("-0.0000001")]),
    "int64_set": (Set(Int64), [{1, 2, 3}, {2**53 + 1}]),
    "string_set": (Set(String), [{"a", "b"}, {""}]),
}
VIEWS = {"sent": SENT, "kept": KEPT, "pushed": SENT}
ROWS = 2

thing = Entity(name="thing", join_keys=["thing_id"], value_type=ValueType.INT64)


def view(name, features):
    """A view whose file nobody reads, with a push source beside it."""
    source = FileSource(
        name=f"{name}_source",
        path=f"data/{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    schema = [Field(name="thing_id", dtype=Int64)]
    schema += [Field(name=f"{name}_{each}", dtype=dtype) for each, (dtype, _) in features.items()]
    push = PushSource(name=f"{name}_push", batch_source=source)
    ttl = dt.timedelta(0)
    return FeatureView(name=name, entities=[thing], ttl=ttl, schema=schema, source=push)


views = {name: view(name, features) for name, features in VIEWS.items()}
globals().update({f"view_{name}": made for name, made in views.items()})
everything = FeatureService(name="everything", features=list(views.values()))
