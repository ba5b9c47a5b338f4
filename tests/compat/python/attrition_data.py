"""Makes the Parquet files of the employee-attrition repository: attrition_data.py DIRECTORY SEED.

Five days from 2024-01-01. Every day has new rows of most entities, some of them exactly at
midnight, where one interval ends and the next begins. Nulls everywhere but in keys and times;
some rows share key and event time and differ in the created time.
"""

import datetime as dt
import os
import random
import sys

import pyarrow as pa
import pyarrow.parquet as pq

DAYS = 5
EMPLOYEES = 40
DEPARTMENTS = ["sales", "research", "human resources", "Zürich", "", "空港"]
FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
TIME = pa.timestamp("us", tz="UTC")


def at(random_, day):
    """An instant of a day: midnight one time in eight."""
    micros = 0 if random_.random() < 0.125 else random_.randrange(86_400_000_000)
    return FIRST + dt.timedelta(days=day, microseconds=micros)


def maybe(random_, value, share=0.15):
    return None if random_.random() < share else value


def rows_of(random_, keys, features):
    """Rows of every day; one in ten comes twice, with another created time and other values."""
    rows = []
    for day in range(DAYS):
        for key in keys:
            for _ in range(random_.choice([0, 1, 1, 2])):
                row = {**key, "event_time": at(random_, day)}
                created = row["event_time"] + dt.timedelta(seconds=random_.randrange(3600))
                rows.append({**row, "created": created, **features(random_)})
                if random_.random() < 0.1:
                    later = created + dt.timedelta(seconds=random_.choice([-1, 1]))
                    rows.append({**row, "created": later, **features(random_)})
    random_.shuffle(rows)
    return rows


def profile(random_):
    def float32():
        return pa.scalar(random_.gauss(0, 100), pa.float32()).as_py()

    # Feast makes floats of the column's integers where one list element is null, and then fails.
    return {
        "age": maybe(random_, random_.randrange(18, 67)),
        "level": maybe(random_, random_.randrange(-3, 12)),
        "salary": maybe(random_, random_.uniform(1e3, 1e6)),
        "satisfaction": maybe(random_, float32()),
        "overtime": maybe(random_, random_.random() < 0.5),
        "title": maybe(random_, random_.choice(["", "engineer", "Prüferin", "x" * 300])),
        "hired_at": at(random_, -random_.randrange(20_000)),
        "skills": maybe(random_, ["sql", "rust", "日本語"][: random_.randrange(4)]),
        "ratings": maybe(random_, [float32() for _ in range(random_.randrange(4))]),
        "projects": maybe(random_, [random_.randrange(10**12) for _ in range(3)]),
        "bonus": maybe(random_, float32()),
    }


def department(random_):
    return {
        "headcount": random_.randrange(10**15),
        "attrition_rate": maybe(random_, random_.random()),
        "budget": maybe(random_, random_.uniform(0, 1e9)),
        "site": maybe(random_, random_.choice(DEPARTMENTS)),
    }


def assignment(random_):
    return {"pct": maybe(random_, random_.random()), "since": at(random_, -5)}


def company(random_):
    return {"open_positions": random_.randrange(1000)}


EMPLOYEE = ("employee_id", pa.int64())
DEPARTMENT = ("department_id", pa.string())
TIMES = [("event_time", TIME), ("created", TIME)]
SCHEMAS = {
    "profile": [
        EMPLOYEE,
        *TIMES,
        ("age", pa.int64()),
        ("level", pa.int32()),
        ("salary", pa.float64()),
        ("satisfaction", pa.float32()),
        ("overtime", pa.bool_()),
        ("title", pa.string()),
        ("hired_at", TIME),
        ("skills", pa.list_(pa.string())),
        ("ratings", pa.list_(pa.float32())),
        ("projects", pa.list_(pa.int64())),
        ("bonus", pa.float32()),
    ],
    "department": [
        DEPARTMENT,
        *TIMES,
        ("headcount", pa.int64()),
        ("attrition_rate", pa.float64()),
        ("budget", pa.float32()),
        ("site", pa.string()),
    ],
    "assignment": [EMPLOYEE, DEPARTMENT, *TIMES, ("pct", pa.float32()), ("since", TIME)],
    "company": [*TIMES, ("open_positions", pa.int64())],
}


def write(name, rows, path, **options):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(SCHEMAS[name])), path, **options)


def main(directory, seed):
    random_ = random.Random(seed)
    employees = [{"employee_id": i * 1_000_003 - 5} for i in range(EMPLOYEES)]
    departments = [{"department_id": name} for name in DEPARTMENTS]
    pairs = [{**employee, **random_.choice(departments)} for employee in employees]
    # Several files in a directory, and several row groups in a file.
    rows = rows_of(random_, employees, profile)
    for part in range(3):
        write("profile", rows[part::3], f"{directory}/profile/part-{part}.parquet")
    for name, keys, features in [
        ("department", departments, department),
        ("assignment", pairs, assignment),
        ("company", [{}] * 5, company),
    ]:
        rows = sorted(rows_of(random_, keys, features), key=lambda row: row["event_time"])
        if name == "company":
            # Without a key to drop repetitions by, Feast keeps the first of equal event times.
            rows = list({row["event_time"]: row for row in rows}.values())
        write(name, rows, f"{directory}/{name}.parquet", row_group_size=16)


main(sys.argv[1], int(sys.argv[2]))
