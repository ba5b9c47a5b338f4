//! Every golden case through the real binary: what Feast 0.67 stored is what we store.
//!
//! Each case runs on a Redis of its own, and once more on Feast's SQLite online store where Feast's
//! result is recorded. Where we differ on purpose the expectation is in `differences.rs`, and the
//! reason in `docs/feast-differences.md`. What a run may change in the registry is checked as well.

mod case;
mod differences;
mod expected;
mod session;

use anyhow::{Context, Result, ensure};
use differences::{DIFFERENCES, REFUSED};
use tests::golden;

macro_rules! cases {
    ($($name:ident)*) => {
        mod gives_feasts_bytes {
            $(
                #[test]
                fn $name() -> anyhow::Result<()> {
                    crate::case::check(stringify!($name))
                }
            )*
        }
        const CASES: &[&str] = &[$(stringify!($name)),*];
    };
}

cases! {
    batch_size
    batch_view
    batch_view_aggregation
    dedup_created_null
    dedup_created_tie
    dedup_latest
    disable_event_timestamp
    entityless
    err_bool_i64_null
    err_bytes_from_str
    err_dec_f64
    err_f64_from_f32
    err_f64_from_i32
    err_field_mapping_source_ts
    err_i64_inf
    err_i64_null_max
    err_json_bad
    err_key_bool
    err_key_uuid
    err_li64_inner_null
    err_map_arrow
    err_missing_column
    err_null_key
    err_partial_batches
    err_sqlite_created_null
    err_ts_date32
    err_zoned_ts
    field_mapping
    key_bytes
    key_int32
    key_int64
    key_int64_from_i32
    key_precision_loss
    key_string
    key_string_from_i64
    multi_file_dir
    multi_view
    precision_loss
    precompute_service
    pull_latest
    push_source_view
    registry_postgres
    registry_sqlite
    serialization_version_0
    serialization_version_1
    serialization_version_3
    serialization_version_4
    skip_dedup_older
    sqlite_text
    stale_epoch
    stale_older_ts
    stale_same_ts
    stream_view
    teardown
    ts_ns_truncation
    ts_null_rows
    types_list
    types_list_vector
    types_map_struct
    types_nan_inf
    types_scalar
    types_scalar_null
    versioned
    window_cli_offsets
    window_empty
    window_ms
    window_naive
    window_s
    window_us
}

#[test]
fn every_case_has_a_test() -> Result<()> {
    let mut listed = CASES.to_vec();
    listed.sort_unstable();
    assert_eq!(golden::names()?, listed, "add the new case to `cases!`");
    Ok(())
}

#[test]
fn every_difference_is_documented() -> Result<()> {
    let path = golden::vectors().join("../../docs/feast-differences.md");
    let text = std::fs::read_to_string(&path).context("docs/feast-differences.md is missing")?;
    for difference in DIFFERENCES {
        let section = text
            .split("\n## ")
            .find(|section| section.contains(&format!("`{}`", difference.case)))
            .with_context(|| format!("`{}` is not mentioned", difference.case))?;
        ensure!(
            section.contains(difference.contract),
            "the section of `{}` does not name {}",
            difference.case,
            difference.contract
        );
    }
    Ok(())
}

#[test]
fn expectations_belong_to_cases() -> Result<()> {
    let names = golden::names()?;
    let differing = DIFFERENCES.iter().map(|difference| difference.case);
    for case in differing.clone().chain(REFUSED.iter().map(|refused| refused.case)) {
        ensure!(names.iter().any(|name| name == case), "there is no case `{case}`");
    }
    for refused in REFUSED {
        let twice = differing.clone().any(|case| case == refused.case);
        ensure!(!twice, "`{}` is refused as in Feast, and differs", refused.case);
    }
    Ok(())
}
