//! Where we are not what Feast 0.67 is, case by case; the reasons at length are in
//! `docs/feast-differences.md`.

/// A case whose result is not Feast's, on purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difference {
    /// The case.
    pub(crate) case: &'static str,
    /// The contract's number of what we do differently.
    pub(crate) contract: &'static str,
    /// What we come to instead.
    pub(crate) ours: Ours,
}

/// What we come to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ours {
    /// Nothing is stored; the error says this.
    Refuses(&'static [&'static str]),
    /// Feast's result with these cells instead.
    Stores(Cells),
}

/// What takes the place of Feast's cells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cells {
    /// Entities that Feast stored and that do not exist.
    pub(crate) not: &'static [i64],
    /// In Redis.
    pub(crate) redis: &'static [Cell],
    /// In SQLite.
    pub(crate) sqlite: &'static [Row],
}

/// An entity `id`, a `view:feature` or `_ts:view`, and the value in hex.
pub(crate) type Cell = (i64, &'static str, &'static str);

/// An entity `id`, a `view:feature`, the value in hex, its text, and the event time in seconds.
pub(crate) type Row = (i64, &'static str, &'static str, Option<&'static str>, i64);

/// A case at which Feast fails and so do we, with a better message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    /// The case.
    pub(crate) case: &'static str,
    /// What our error says: the file, the column, and what is wrong.
    pub(crate) says: &'static [&'static str],
}

/// Event times of the cases: 2024-01-01T12:00:00Z and the seconds after it.
const NOON: &str = "08c0d2caac06";
const NOON_1: &str = "08c1d2caac06";
const NOON_2: &str = "08c2d2caac06";
const SECONDS: i64 = 1_704_110_400;
/// 2^53, which float64 still holds, and the next number, which it does not.
const TWO_53: i64 = 9_007_199_254_740_992;

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        case: "precision_loss",
        contract: "C7.1",
        ours: Ours::Stores(Cells {
            not: &[],
            redis: &[(1, "fv:f", "208180808080808010"), (3, "fv:f", "208380808080808010")],
            sqlite: &[
                (1, "fv:f", "208180808080808010", Some("9007199254740993"), SECONDS),
                (3, "fv:f", "208380808080808010", Some("9007199254740995"), SECONDS + 2),
            ],
        }),
    },
    Difference {
        case: "err_i64_null_max",
        contract: "C7.1",
        ours: Ours::Stores(Cells {
            not: &[],
            redis: &[
                (1, "fv:f", "20ffffffffffffffff7f"),
                (1, "_ts:fv", NOON),
                (2, "fv:f", ""),
                (2, "_ts:fv", NOON_1),
                (3, "fv:f", "2001"),
                (3, "_ts:fv", NOON_2),
            ],
            sqlite: &[],
        }),
    },
    Difference {
        case: "key_precision_loss",
        contract: "C7.2",
        ours: Ours::Stores(Cells {
            not: &[TWO_53],
            redis: &[(TWO_53 + 1, "fv:f", "2001"), (TWO_53 + 1, "_ts:fv", NOON)],
            sqlite: &[(TWO_53 + 1, "fv:f", "2001", Some("1"), SECONDS)],
        }),
    },
    Difference {
        case: "err_bool_i64_null",
        contract: "C7.25",
        ours: Ours::Stores(Cells {
            not: &[],
            redis: &[
                (1, "fv:f", "3801"),
                (1, "_ts:fv", NOON),
                (2, "fv:f", ""),
                (2, "_ts:fv", NOON_1),
                (3, "fv:f", "3800"),
                (3, "_ts:fv", NOON_2),
            ],
            sqlite: &[],
        }),
    },
    Difference {
        case: "err_f64_from_i32",
        contract: "C7.25",
        ours: Ours::Stores(Cells {
            not: &[],
            redis: &[
                (1, "fv:f", "29000000000000f03f"),
                (1, "_ts:fv", NOON),
                (2, "fv:f", "290000000000000040"),
                (2, "_ts:fv", NOON_1),
                (3, "fv:f", "290000000000000840"),
                (3, "_ts:fv", NOON_2),
            ],
            sqlite: &[],
        }),
    },
    Difference {
        case: "types_map_struct",
        contract: "C7.14",
        ours: Ours::Stores(Cells {
            not: &[],
            redis: &[
                (1, "fv:stn", "9202130a070a0162120220010a080a01611203120178"),
                (3, "fv:stn", "9202100a070a0162120220020a050a01611200"),
            ],
            sqlite: &[
                (1, "fv:stn", "9202130a070a0162120220010a080a01611203120178", None, SECONDS),
                (3, "fv:stn", "9202100a070a0162120220020a050a01611200", None, SECONDS + 2),
            ],
        }),
    },
    Difference {
        case: "err_sqlite_created_null",
        contract: "C7.26",
        ours: Ours::Stores(Cells {
            not: &[],
            redis: &[],
            sqlite: &[(1, "fv:f", "2001", Some("1"), SECONDS)],
        }),
    },
    Difference {
        case: "stale_older_ts",
        contract: "C7.8",
        ours: Ours::Stores(Cells {
            not: &[],
            redis: &[],
            sqlite: &[(1, "fv:f", "2001", Some("1"), SECONDS)],
        }),
    },
    Difference {
        case: "stale_same_ts",
        contract: "C7.8",
        ours: Ours::Stores(Cells {
            not: &[],
            redis: &[],
            sqlite: &[(1, "fv:f", "2001", Some("1"), SECONDS)],
        }),
    },
    Difference {
        case: "precompute_service",
        contract: "C3.8",
        ours: Ours::Refuses(&["fv: refused", "`svc`", "precompute_online"]),
    },
];

pub(crate) const REFUSED: &[Refused] = &[
    Refused {
        case: "err_bytes_from_str",
        says: &["d.parquet", "`f`", "`Utf8`", "binary columns only"],
    },
    Refused { case: "err_dec_f64", says: &["d.parquet", "`f`", "`Float64`", "decimals or text"] },
    Refused { case: "err_f64_from_f32", says: &["d.parquet", "`f`", "`Float32`", "store 64 bits"] },
    Refused { case: "err_field_mapping_source_ts", says: &["`ts_src`", "`ts`", "field mapping"] },
    Refused { case: "err_i64_inf", says: &["d.parquet", "`f`", "row 1"] },
    Refused { case: "err_json_bad", says: &["d.parquet", "`f`", "row 2", "JSON"] },
    Refused { case: "err_key_bool", says: &["d.parquet", "`id`", "type Bool", "use STRING"] },
    Refused { case: "err_key_uuid", says: &["d.parquet", "`id`", "type Uuid", "use STRING"] },
    Refused { case: "err_li64_inner_null", says: &["d.parquet", "`f`", "row 0"] },
    Refused {
        case: "err_map_arrow",
        says: &["d.parquet", "`f`", "`Map(", "as a struct or as JSON text"],
    },
    Refused { case: "err_missing_column", says: &["d.parquet", "`f`", "id, ts, g"] },
    Refused { case: "err_null_key", says: &["d.parquet", "`id`", "row 1"] },
    Refused { case: "err_partial_batches", says: &["d.parquet", "`id`", "row 4"] },
    Refused { case: "err_ts_date32", says: &["d.parquet", "`ts`", "must be a timestamp"] },
    Refused { case: "err_zoned_ts", says: &["`f`", "ZONED_TIMESTAMP"] },
];
