"""The definitions of the employee-attrition repository, as `feast apply` reads them.

The environment decides what changes from one apply to the next: REVISION is the tag `revision` of
every view, and from revision 1 on the profile has one more feature and another ttl.
"""

import os
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

REVISION = int(os.environ.get("REVISION", "0"))
TAGS = {"revision": str(REVISION)}

employee = Entity(name="employee", join_keys=["employee_id"], value_type=ValueType.INT64)
department = Entity(name="department", join_keys=["department_id"], value_type=ValueType.STRING)


def source(name, path, **options):
    return FileSource(
        name=f"{name}_source",
        path=path,
        timestamp_field="event_time",
        created_timestamp_column="created",
        **options,
    )


profile = FeatureView(
    name="employee_profile",
    entities=[employee],
    ttl=timedelta(days=90 if REVISION else 0),
    schema=[
        Field(name="employee_id", dtype=Int64),
        Field(name="age", dtype=Int64),
        Field(name="level", dtype=Int32),
        Field(name="salary", dtype=Float64),
        Field(name="satisfaction", dtype=Float32),
        Field(name="overtime", dtype=Bool),
        Field(name="title", dtype=String),
        Field(name="hired_at", dtype=UnixTimestamp),
        Field(name="skills", dtype=Array(String)),
        Field(name="ratings", dtype=Array(Float32)),
        Field(name="projects", dtype=Array(Int64)),
    ]
    + ([Field(name="bonus", dtype=Float32)] if REVISION else []),
    source=source("profile", "data/profile"),
    tags=TAGS,
)

headcount = FeatureView(
    name="department_stats",
    entities=[department],
    ttl=timedelta(0),
    schema=[
        Field(name="department_id", dtype=String),
        Field(name="headcount", dtype=Int64),
        Field(name="attrition_rate", dtype=Float64),
        Field(name="budget", dtype=Float32),
        Field(name="site", dtype=String),
    ],
    source=source("department", "data/department.parquet"),
    tags=TAGS,
)

assignment = FeatureView(
    name="assignment",
    entities=[employee, department],
    ttl=timedelta(0),
    schema=[
        Field(name="employee_id", dtype=Int64),
        Field(name="department_id", dtype=String),
        Field(name="share", dtype=Float32),
        Field(name="since", dtype=UnixTimestamp),
    ],
    source=source("assignment", "data/assignment.parquet", field_mapping={"pct": "share"}),
    tags=TAGS,
)

company = FeatureView(
    name="company",
    entities=[],
    ttl=timedelta(0),
    schema=[Field(name="open_positions", dtype=Int64)],
    source=source("company", "data/company.parquet"),
    tags=TAGS,
)

attrition = FeatureService(
    name="attrition_v1",
    features=[
        headcount[["attrition_rate", "site", "headcount", "budget"]],
        profile[
            [
                "satisfaction",
                "age",
                "title",
                "ratings",
                "overtime",
                "salary",
                "hired_at",
                "skills",
                "level",
                "projects",
            ]
        ],
        assignment,
        company,
    ],
)
