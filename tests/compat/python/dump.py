"""Everything in an online store, as text that can be compared: dump.py redis PORT DB | sqlite FILE.

Prints JSON: key to field to value, all in hexadecimal. Sets and maps have no order of their own in
Feast's bytes (it is that of the process that wrote them), so their values are printed decoded and
sorted, after `unordered`. Feast lets elements of a set that have become equal by narrowing stand
twice; readers make a set of them again, and so does this.
"""

import json
import sqlite3
import sys

import redis
from feast.protos.feast.types.Value_pb2 import Value

# Larger pages mean fewer round trips; the stores that are compared are small.
# What Tidegate keeps beside the rows.
OURS = b"__tidegate__:"

PAGE = 1000


def ordered(value):
    """A value with its sets and maps sorted; None when it holds neither."""
    kind = value.WhichOneof("val")
    if kind is None:
        return None
    held = getattr(value, kind)
    if kind.endswith("_set_val"):
        return sorted({repr(element) for element in held.val})
    if kind in ("map_val", "struct_val"):
        return mapping(held)
    if kind in ("map_list_val", "struct_list_val"):
        return [mapping(element) for element in held.val]
    if kind in ("list_val", "set_val"):
        inner = [ordered(element) for element in held.val]
        return inner if any(element is not None for element in inner) else None
    return None


def mapping(held):
    pairs = []
    for name in sorted(held.val):
        inner = held.val[name]
        sorted_inner = ordered(inner)
        pairs.append(
            [name, inner.SerializeToString().hex() if sorted_inner is None else sorted_inner]
        )
    return pairs


def text(name, value):
    """A field's value; event times are no Feast values."""
    if name.startswith(b"_ts:"):
        return value.hex()
    decoded = Value.FromString(value)
    unordered = ordered(decoded)
    if unordered is None:
        return value.hex()
    return f"unordered {decoded.WhichOneof('val')} {json.dumps(unordered)}"


def redis_store(port, database):
    client = redis.Redis(port=int(port), db=int(database))
    keys = sorted(key for key in client.scan_iter(count=PAGE) if not key.startswith(OURS))
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.hgetall(key)
        pipeline.ttl(key)
    answers = pipeline.execute()
    hashes = zip(keys, answers[::2], answers[1::2])
    return {
        key.hex(): {
            **{name.hex(): text(name, value) for name, value in sorted(fields.items())},
            "ttl": ttl,
        }
        for key, fields, ttl in hashes
    }


def sqlite_store(path):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    # Tidegate keeps the event times' nanoseconds in a table of its own beside Feast's.
    tables = [name for (name,) in names if not name.startswith("tidegate_")]
    rows = {}
    for table in tables:
        cursor = connection.execute(f'SELECT * FROM "{table}" ORDER BY 1, 2')
        names = [column[0] for column in cursor.description]
        rows[table] = {
            f"{index}": {n: v.hex() if isinstance(v, bytes) else v for n, v in zip(names, row)}
            for index, row in enumerate(cursor)
        }
    return rows


stores = {"redis": redis_store, "sqlite": sqlite_store}
print(json.dumps(stores[sys.argv[1]](*sys.argv[2:])))
