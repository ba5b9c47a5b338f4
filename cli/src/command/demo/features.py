"""The definitions that this repository's registry holds; change them and run `feast apply`."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, Project, ValueType
from feast.types import Float32, Float64, Int32, Int64, String

project = Project(name="employee_attrition")

employee = Entity(name="employee", join_keys=["employee_id"], value_type=ValueType.INT64)

profile_source = FileSource(
    name="employee_profile_source",
    path="data/employee_profile.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)

activity_source = FileSource(
    name="employee_activity_source",
    path="data/employee_activity",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)

employee_profile = FeatureView(
    name="employee_profile",
    entities=[employee],
    ttl=timedelta(days=365),
    schema=[
        Field(name="employee_id", dtype=Int64),
        Field(name="department", dtype=String),
        Field(name="job_level", dtype=Int32),
        Field(name="years_at_company", dtype=Float32),
    ],
    source=profile_source,
)

employee_activity = FeatureView(
    name="employee_activity",
    entities=[employee],
    ttl=timedelta(days=28),
    schema=[
        Field(name="employee_id", dtype=Int64),
        Field(name="average_monthly_hours", dtype=Float32),
        Field(name="overtime_ratio", dtype=Float64),
        Field(name="last_evaluation", dtype=Float64),
        Field(name="promotions_last_5_years", dtype=Int64),
    ],
    source=activity_source,
)

attrition_model = FeatureService(
    name="attrition_model",
    features=[
        employee_activity[["overtime_ratio", "last_evaluation", "average_monthly_hours"]],
        employee_profile[["years_at_company", "job_level", "department"]],
    ],
)
