"""A view for each kind of key, with features of every type that Feast can materialize.

As definitions, `feast apply` reads it; as a script it makes the data: every_type.py DIRECTORY SEED.
A feature is given by Feast's type, the column's Arrow type and a function that makes a value; its
column has nulls unless it is marked WHOLE. Left out is what Feast stores differently from us on
purpose, each with its reason below.
"""

import datetime as dt
import decimal
import json
import os
import random
import string
import sys
import uuid
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Json,
    Map,
    PdfBytes,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
)

ENTITIES = 60
ROWS = 150
WHOLE = "whole"
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
# Feast reads an integer column with a null as floats, which are exact up to here.
EXACT = 2**53
WORDS = ["", "a", "Zürich", "空港", "🌊", "line\nbreak", 'quo"te', "x" * 200, "1", "nu\0l"]


def integer(low, high):
    def make(r):
        return r.choice([low, high, 0, r.randint(low, high), r.randint(max(low, -9), min(high, 9))])

    return make


def double(r):
    special = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324, 1.7976931348623157e308]
    usual = [
        r.gauss(0, 1),
        r.uniform(-1e16, 1e16),
        float(r.randint(-99, 99)),
        10.0 ** r.randint(-9, 20),
    ]
    return r.choice(special) if r.random() < 0.2 else r.choice(usual)


def single(r):
    special = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-45, 3.4028234663852886e38]
    return (
        r.choice(special) if r.random() < 0.2 else pa.scalar(r.gauss(0, 1e3), pa.float32()).as_py()
    )


def finite(r):
    return r.choice([r.uniform(-2e9, 2e9), r.uniform(-1, 1), float(r.randint(-5, 5))])


def truth(r):
    return r.random() < 0.5


def text(r):
    return r.choice(WORDS) if r.random() < 0.5 else "".join(r.choices(string.printable, k=12))


def key_text(r):
    """Feast takes keys that are equal up to a null character for one entity, and loses the rest."""
    return text(r).replace("\0", "")


def number_text(r):
    return str(r.randint(-(2**31), 2**31 - 1))


def binary(r):
    return r.randbytes(r.choice([0, 1, 7, 300]))


def instant(r):
    low, high = -62_000_000_000, 200_000_000_000
    seconds = r.choice([0, -1, 1, r.randint(-3_000_000_000, 8_000_000_000), r.randint(low, high)])
    return EPOCH + timedelta(seconds=seconds, microseconds=r.choice([0, 1, 999_999, 500_000]))


def near_instant(r):
    """Within what nanoseconds can tell."""
    return EPOCH + timedelta(
        seconds=r.randint(-3_000_000_000, 8_000_000_000), microseconds=r.randrange(10**6)
    )


def close_instant(r):
    """Often in the second of another one, before and after 1970."""
    return EPOCH + timedelta(microseconds=r.randint(-3_000_000, 3_000_000))


def close_double(r):
    """Often the same float32 as another one."""
    return 1.0 + r.randint(0, 6) * 2e-8


def whole_seconds(r):
    return instant(r).replace(microsecond=0)


def milliseconds(r):
    return instant(r).replace(microsecond=r.choice([0, 1000, 999_000]))


def naive(make):
    return lambda r: make(r).replace(tzinfo=None)


def day(r):
    return instant(r).date()


def near_day(r):
    return near_instant(r).date()


def amount(r):
    return decimal.Decimal(r.randint(-(10**9), 10**9)).scaleb(-2)


def some_uuid(r):
    made = str(uuid.UUID(int=r.getrandbits(128)))
    return made.upper() if r.random() < 0.2 else made


def json_value(r, depth=2):
    scalar = [None, truth(r), r.randint(-(2**40), 2**40), r.gauss(0, 1), r.choice(WORDS[:8])]
    if depth == 0 or r.random() < 0.4:
        return r.choice(scalar)
    if r.random() < 0.5:
        return [json_value(r, depth - 1) for _ in range(r.randrange(4))]
    return {r.choice("abcdeü"): json_value(r, depth - 1) for _ in range(r.randrange(4))}


def json_text(r):
    return json.dumps(json_value(r), ensure_ascii=truth(r), indent=r.choice([None, None, 1]))


def inner_value(r, depth):
    """A value in a map: lists are of one scalar type, or of maps."""
    kinds = [
        lambda: None,
        lambda: truth(r),
        lambda: r.randint(-(2**50), 2**50),
        lambda: r.gauss(0, 1),
        lambda: r.choice(WORDS[:8]),
        lambda: [r.randint(-9, 9) for _ in range(r.randint(1, 3))],
        lambda: [r.gauss(0, 1) for _ in range(r.randint(1, 3))],
        lambda: [r.choice(WORDS[:8]) for _ in range(r.randint(1, 3))],
    ]
    if depth:
        kinds += [
            lambda: mapping(r, depth - 1),
            lambda: [mapping(r, depth - 1) for _ in range(r.randint(1, 2))],
        ]
    return r.choice(kinds)()


def mapping(r, depth=2):
    return {r.choice("abcdeü") + str(i): inner_value(r, depth) for i in range(r.randrange(4))}


def map_text(r):
    return json.dumps(mapping(r))


def map_list_text(r):
    return json.dumps([mapping(r, 1) for _ in range(r.randrange(3))])


def listed(make, nulls=0.0, most=4):
    def make_list(r):
        return [None if r.random() < nulls else make(r) for _ in range(r.randint(0, most))]

    return make_list


def filled(make):
    """Never empty: what an empty list in a list is of, nobody can tell."""
    return lambda r: [make(r) for _ in range(r.randint(1, 3))]


def record(r):
    return {"a": r.randint(-9, 9), "b": text(r), "c": r.gauss(0, 1)}


US = pa.timestamp("us", tz="UTC")
RECORD = pa.struct([("a", pa.int64()), ("b", pa.string()), ("c", pa.float64())])
RECORD_TYPE = Struct({"a": Int64, "b": String, "c": Float64})
I8, I16, I32 = (
    integer(-(2**7), 2**7 - 1),
    integer(-(2**15), 2**15 - 1),
    integer(-(2**31), 2**31 - 1),
)
I53, I64 = integer(-EXACT, EXACT), integer(-(2**63), 2**63 - 1)

NUMBERS = {
    "int32_from_int8": (Int32, pa.int8(), I8),
    "int32_from_int16": (Int32, pa.int16(), I16),
    "int32_from_int32": (Int32, pa.int32(), I32),
    "int32_from_uint8": (Int32, pa.uint8(), integer(0, 2**8 - 1)),
    "int32_from_uint16": (Int32, pa.uint16(), integer(0, 2**16 - 1)),
    "int32_from_int64": (Int32, pa.int64(), I32, WHOLE),
    "int32_from_float64": (Int32, pa.float64(), finite),
    "int32_from_text": (Int32, pa.string(), number_text),
    "int32_from_bool": (Int32, pa.bool_(), truth),
    "int64_from_int64": (Int64, pa.int64(), I53),
    "int64_from_whole_int64": (Int64, pa.int64(), I64, WHOLE),
    "int64_from_int32": (Int64, pa.int32(), I32),
    "int64_from_uint32": (Int64, pa.uint32(), integer(0, 2**32 - 1)),
    "int64_from_uint64": (Int64, pa.uint64(), integer(0, 2**63 - 1), WHOLE),
    "int64_from_float64": (Int64, pa.float64(), finite),
    "int64_from_text": (Int64, pa.string(), number_text),
    "int64_from_bool": (Int64, pa.bool_(), truth),
    "float_from_float32": (Float32, pa.float32(), single),
    "float_from_float64": (Float32, pa.float64(), double),
    "float_from_int64": (Float32, pa.int64(), I53),
    "float_from_whole_int64": (Float32, pa.int64(), I64, WHOLE),
    "float_from_decimal": (Float32, pa.decimal128(12, 2), amount),
    "double_from_float64": (Float64, pa.float64(), double),
    "double_from_whole_int64": (Float64, pa.int64(), I64, WHOLE),
    "double_from_int32": (Float64, pa.int32(), I32),
    "double_from_decimal": (Float64, pa.decimal128(12, 2), amount),
    "bool_from_bool": (Bool, pa.bool_(), truth),
    "bool_from_whole_bool": (Bool, pa.bool_(), truth, WHOLE),
    "bool_from_int64": (Bool, pa.int64(), integer(-1, 1), WHOLE),
    "time_from_s": (UnixTimestamp, pa.timestamp("s", tz="UTC"), whole_seconds),
    "time_from_ms": (UnixTimestamp, pa.timestamp("ms", tz="UTC"), milliseconds),
    "time_from_us": (UnixTimestamp, US, instant),
    "time_from_naive_us": (UnixTimestamp, pa.timestamp("us"), naive(instant)),
    "time_from_ns": (UnixTimestamp, pa.timestamp("ns", tz="UTC"), near_instant),
    "time_from_zone": (UnixTimestamp, pa.timestamp("us", tz="America/New_York"), instant),
    "time_from_date": (UnixTimestamp, pa.date32(), near_day),
    "time_from_int64": (UnixTimestamp, pa.int64(), integer(-(2**40), 2**40), WHOLE),
}
TEXTS = {
    "string_from_string": (String, pa.string(), text),
    "string_from_large_string": (String, pa.large_string(), text),
    "string_from_dictionary": (String, pa.dictionary(pa.int32(), pa.string()), text),
    # A column of integers with a null becomes text such as `1.0` in Feast, and `1` in ours.
    "string_from_int64": (String, pa.int64(), I64, WHOLE),
    "string_from_int8": (String, pa.int8(), I8, WHOLE),
    "string_from_float64": (String, pa.float64(), double),
    "string_from_float32": (String, pa.float32(), single),
    "string_from_bool": (String, pa.bool_(), truth),
    "string_from_us": (String, US, near_instant),
    "string_from_naive_ns": (String, pa.timestamp("ns"), naive(near_instant)),
    "string_from_ms": (String, pa.timestamp("ms", tz="UTC"), milliseconds),
    "string_from_s": (String, pa.timestamp("s"), naive(whole_seconds)),
    "string_from_date": (String, pa.date32(), near_day),
    "string_from_binary": (String, pa.binary(), binary),
    "string_from_decimal": (String, pa.decimal128(12, 2), amount),
    "bytes_from_binary": (Bytes, pa.binary(), binary),
    "bytes_from_large_binary": (Bytes, pa.large_binary(), binary),
    "bytes_from_fixed": (Bytes, pa.binary(4), lambda r: r.randbytes(4)),
    "pdf_from_binary": (PdfBytes, pa.binary(), binary),
    "image_from_binary": (ImageBytes, pa.binary(), binary),
    "uuid_from_text": (Uuid, pa.string(), some_uuid),
    "time_uuid_from_text": (TimeUuid, pa.string(), some_uuid),
    "decimal_from_decimal128": (Decimal, pa.decimal128(12, 2), amount),
    "decimal_from_decimal256": (Decimal, pa.decimal256(50, 2), amount),
    "decimal_from_text": (Decimal, pa.string(), lambda r: str(amount(r))),
    "json_from_text": (Json, pa.string(), json_text),
    "json_from_struct": (Json, RECORD, record, WHOLE),
}
LISTS = {
    # One null element and Feast fails on the floats it makes of the integers.
    "int32s": (Array(Int32), pa.list_(pa.int32()), listed(I32)),
    "int32s_from_int16": (Array(Int32), pa.list_(pa.int16()), listed(I16)),
    "int64s": (Array(Int64), pa.list_(pa.int64()), listed(I64)),
    "int64s_large": (Array(Int64), pa.large_list(pa.int64()), listed(I64)),
    "int64s_from_int32": (Array(Int64), pa.list_(pa.int32()), listed(I32)),
    "floats": (Array(Float32), pa.list_(pa.float32()), listed(single, 0.2)),
    "floats_from_float64": (Array(Float32), pa.list_(pa.float64()), listed(finite, 0.2)),
    "floats_fixed": (Array(Float32), pa.list_(pa.float32(), 2), lambda r: [single(r), single(r)]),
    "doubles": (Array(Float64), pa.list_(pa.float64()), listed(double, 0.2)),
    "doubles_from_float32": (Array(Float64), pa.list_(pa.float32()), listed(single, 0.2)),
    "strings": (Array(String), pa.list_(pa.string()), listed(text, 0.2)),
    "bytes": (Array(Bytes), pa.list_(pa.binary()), listed(binary, 0.2)),
    "bools": (Array(Bool), pa.list_(pa.bool_()), listed(truth, 0.2)),
    "times": (Array(UnixTimestamp), pa.list_(pa.timestamp("us")), listed(naive(near_instant), 0.2)),
    "times_s": (Array(UnixTimestamp), pa.list_(pa.timestamp("s")), listed(naive(whole_seconds))),
    # Of nanoseconds, Feast stores the number of nanoseconds where seconds belong.
    "times_ms": (Array(UnixTimestamp), pa.list_(pa.timestamp("ms")), listed(naive(milliseconds))),
    "uuids": (Array(Uuid), pa.list_(pa.string()), listed(some_uuid, 0.2)),
    "time_uuids": (Array(TimeUuid), pa.list_(pa.string()), listed(some_uuid)),
    "decimals": (Array(Decimal), pa.list_(pa.decimal128(12, 2)), listed(amount, 0.2)),
    "jsons": (Array(Json), pa.list_(pa.string()), listed(json_text, 0.2)),
    "nested_int32": (Array(Array(Int32)), pa.list_(pa.list_(pa.int32())), filled(filled(I32))),
    "nested_int64": (Array(Array(Int64)), pa.list_(pa.list_(pa.int64())), listed(listed(I64))),
    "nested_float": (
        Array(Array(Float32)),
        pa.list_(pa.list_(pa.float32())),
        listed(filled(single)),
    ),
    "nested_double": (
        Array(Array(Float64)),
        pa.list_(pa.list_(pa.float64())),
        listed(filled(double)),
    ),
    "nested_string": (
        Array(Array(String)),
        pa.list_(pa.list_(pa.string())),
        listed(filled(text), 0.2),
    ),
}
SETS = {
    "set_int32": (Set(Int32), pa.list_(pa.int32()), listed(I32)),
    "set_int64": (Set(Int64), pa.list_(pa.int64()), listed(integer(-2, 2), most=8)),
    "set_float": (Set(Float32), pa.list_(pa.float32()), listed(finite)),
    "set_double": (Set(Float64), pa.list_(pa.float64()), listed(finite)),
    "set_float_close": (Set(Float32), pa.list_(pa.float64()), listed(close_double, most=8)),
    "set_float_nan": (Set(Float32), pa.list_(pa.float32()), listed(single, most=8)),
    "set_double_nan": (Set(Float64), pa.list_(pa.float64()), listed(double, most=8)),
    "set_string": (Set(String), pa.list_(pa.string()), listed(text, most=8)),
    "set_bytes": (Set(Bytes), pa.list_(pa.binary()), listed(binary, most=8)),
    "set_bool": (Set(Bool), pa.list_(pa.bool_()), listed(truth)),
    "set_time_close": (
        Set(UnixTimestamp),
        pa.list_(pa.timestamp("us")),
        listed(naive(close_instant), most=8),
    ),
    "set_time_ms": (Set(UnixTimestamp), pa.list_(pa.timestamp("ms")), listed(naive(milliseconds))),
    "set_time": (Set(UnixTimestamp), pa.list_(pa.timestamp("us")), listed(naive(near_instant))),
    "set_uuid": (Set(Uuid), pa.list_(pa.string()), listed(some_uuid)),
    "set_time_uuid": (Set(TimeUuid), pa.list_(pa.string()), listed(some_uuid)),
    "set_decimal": (Set(Decimal), pa.list_(pa.decimal128(12, 2)), listed(amount)),
    "nested_set": (Set(Set(Int64)), pa.list_(pa.list_(pa.int64())), listed(listed(I16))),
    "list_of_sets": (Array(Set(String)), pa.list_(pa.list_(pa.string())), listed(listed(text))),
}
MAPS = {
    "map_from_text": (Map, pa.string(), map_text),
    "map_from_struct": (Map, RECORD, record, WHOLE),
    "struct_from_text": (RECORD_TYPE, pa.string(), map_text),
    "struct_from_struct": (RECORD_TYPE, RECORD, record, WHOLE),
    "maps_from_text": (Array(Map), pa.string(), map_list_text),
    "structs_from_structs": (Array(RECORD_TYPE), pa.list_(RECORD), listed(record)),
}
KEYS = {
    "by_int64": ([("k", ValueType.INT64, Int64, pa.int64(), I64)], NUMBERS),
    "by_string": ([("k", ValueType.STRING, String, pa.string(), key_text)], TEXTS),
    "by_int32_and_bytes": (
        [
            ("zz", ValueType.INT32, Int32, pa.int32(), I32),
            ("é", ValueType.BYTES, Bytes, pa.binary(), binary),
        ],
        LISTS,
    ),
    "by_time": ([("k", ValueType.UNIX_TIMESTAMP, UnixTimestamp, US, near_instant)], SETS),
    "by_string_and_int64": (
        [
            ("s", ValueType.STRING, String, pa.string(), key_text),
            ("i", ValueType.INT64, Int64, pa.int64(), I64),
        ],
        MAPS,
    ),
    "by_nothing": ([], {"only": (String, pa.string(), text, WHOLE)}),
}


def view(name, keys, features):
    """Entities of one name each, so that views do not share hashes."""
    entities = [
        Entity(name=f"{name}_{key}", join_keys=[f"{name}_{key}"], value_type=value_type)
        for key, value_type, *_ in keys
    ]
    source = FileSource(
        name=f"{name}_source",
        path=f"data/{name}.parquet",
        timestamp_field="event_time",
        created_timestamp_column="created",
    )
    schema = [Field(name=f"{name}_{key}", dtype=dtype) for key, _, dtype, *_ in keys]
    schema += [Field(name=feature, dtype=dtype) for feature, (dtype, *_) in features.items()]
    ttl = timedelta(0)
    return entities, FeatureView(
        name=name, entities=entities, ttl=ttl, schema=schema, source=source
    )


def column(r, arrow_type, make, marks):
    nulls = 0.0 if WHOLE in marks else 0.2
    values = [None if r.random() < nulls else make(r) for _ in range(ROWS)]
    return pa.array(values, arrow_type)


def table(r, name, keys, features):
    """Some entities have many rows, in no order, and no two rows have the same event time."""
    chosen = [[make(r) for *_, make in keys] for _ in range(ENTITIES)]
    rows = [r.choice(chosen) for _ in range(ROWS)]
    micros = r.sample(range(86_400_000_000), ROWS)
    times = [FIRST + timedelta(microseconds=m) for m in micros]
    created = [None if r.random() < 0.1 else time + timedelta(seconds=1) for time in times]
    columns = {"event_time": pa.array(times, US), "created": pa.array(created, US)}
    for index, (key, _, _, arrow_type, _) in enumerate(keys):
        columns[f"{name}_{key}"] = pa.array([row[index] for row in rows], arrow_type)
    for feature, (_, arrow_type, make, *marks) in features.items():
        columns[feature] = column(r, arrow_type, make, marks)
    return pa.table(columns)


def main(directory, seed):
    os.makedirs(directory)
    for name, (keys, features) in KEYS.items():
        made = table(random.Random(f"{seed} {name}"), name, keys, features)
        pq.write_table(made, f"{directory}/{name}.parquet", row_group_size=64)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
else:
    for name, (keys, features) in KEYS.items():
        made_entities, made_view = view(name, keys, features)
        for made in made_entities:
            globals()[made.name] = made
        globals()[name] = made_view
