//! The differences over gRPC.
//!
//! Codes are those of gRPC for the same mistake over HTTP, in both modes: Feast's own clients read
//! none.

use super::{BOTH, COMPAT, Difference, FEAST_PRESENT, GONE, OLD, Ours, P, STRICT};

/// The list.
pub(super) const LIST: &[Difference] = &[
    Difference {
        pairs: &["grpc/basic"],
        modes: STRICT,
        feast: FEAST_PRESENT,
        ours: Ours::Statuses(&[("conv_rate", &[P, GONE]), ("avg_daily_trips", &[P, GONE])]),
        why: "the entity is not stored",
    },
    Difference {
        pairs: &["grpc/feature_service"],
        modes: STRICT,
        feast: FEAST_PRESENT,
        ours: Ours::Statuses(&[("driver_old__old_val", &[OLD])]),
        why: "the view's ttl has passed",
    },
    Difference {
        pairs: &["grpc/int32_entity"],
        modes: BOTH,
        feast: "nulls that are `PRESENT`",
        ours: Ours::Answer(DRIVER, "the features"),
        why: "an integer of another width is the same entity",
    },
    Difference {
        pairs: &["grpc/string_entity"],
        modes: STRICT,
        feast: "nulls that are `PRESENT`",
        ours: Ours::Code("INVALID_ARGUMENT"),
        why: "a value of another type is a mistake, and finds nobody",
    },
    Difference {
        pairs: &["grpc/string_entity"],
        modes: COMPAT,
        feast: "nulls that are `PRESENT`",
        ours: Ours::Answer(DRIVER, "the features"),
        why: "coerced as Feast does it over HTTP",
    },
    Difference {
        pairs: &["grpc/missing_key"],
        modes: BOTH,
        feast: "`UNKNOWN`",
        ours: Ours::Code("INVALID_ARGUMENT"),
        why: "the caller's mistake",
    },
    Difference {
        pairs: &["grpc/reqdata_in_entities", "grpc/request_context"],
        modes: BOTH,
        feast: "`UNKNOWN`",
        ours: Ours::Code("INVALID_ARGUMENT"),
        why: "nothing but on-demand features is asked for, and the server runs no Python",
    },
    Difference {
        pairs: &["grpc/unknown_feature"],
        modes: BOTH,
        feast: "`UNKNOWN`",
        ours: Ours::Code("NOT_FOUND"),
        why: "the caller's mistake",
    },
    Difference {
        pairs: &["grpc/unknown_fs"],
        modes: BOTH,
        feast: "`INTERNAL`",
        ours: Ours::Code("NOT_FOUND"),
        why: "the caller's mistake",
    },
    Difference {
        pairs: &["grpc/serving_service_path"],
        modes: BOTH,
        feast: "`UNIMPLEMENTED`",
        ours: Ours::Answer(DRIVER, "the features"),
        why: "Feast's Go and Java servers offer this service, so clients of theirs work",
    },
];

/// One driver and one feature, as Feast's Python prints the message.
const DRIVER: &str = r#"{"metadata":{"feature_names":{"val":["driver_id","conv_rate"]}},
"results":[
{"values":[{"int64_val":"1001"}],"statuses":["PRESENT"],
 "event_timestamps":["1970-01-01T00:00:00Z"]},
{"values":[{"double_val":0.1}],"statuses":["PRESENT"],
 "event_timestamps":["2026-11-23T08:03:42Z"]}]}"#;
