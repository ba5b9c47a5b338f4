//! The sample's rows: the same for every reader, except that they end two hours ago.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use chrono::{DateTime, TimeDelta, Utc};
use parquet::arrow::ArrowWriter;

/// The join key's column, in both sources.
pub const JOIN_KEY: &str = "employee_id";
/// Their event time column.
pub const EVENT_TIME: &str = "event_timestamp";
/// Their created time column.
pub const CREATED_TIME: &str = "created_timestamp";
/// Weeks of activity, one file each: the last sixty days.
pub const WEEKS: usize = 9;

/// Enough to look like a company, few enough to be made at once.
const EMPLOYEES: i64 = 1_000;
/// Age of each snapshot of the profiles.
const PROFILE_AGES_DAYS: [i64; 4] = [56, 42, 28, 14];
/// Exports end this long before now, as those of a nightly job do.
const LAG: TimeDelta = TimeDelta::hours(2);
/// The source records a fact this long after it became true.
const RECORDED_AFTER: TimeDelta = TimeDelta::minutes(30);
const DEPARTMENTS: [&str; 6] =
    ["Engineering", "Finance", "Human Resources", "Research", "Sales", "Support"];
const WEEKS_PER_YEAR: f32 = 52.0;

/// One employee at one moment.
struct Seen {
    employee: i64,
    age_weeks: i64,
    at: DateTime<Utc>,
}

/// Writes the profiles to one file and returns how many rows that were.
pub fn write_profiles(path: &Path, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let seen: Vec<Seen> = PROFILE_AGES_DAYS
        .into_iter()
        .flat_map(|days| (1..=EMPLOYEES).map(move |employee| see(employee, days / 7, now)))
        .collect();
    let departments = seen.iter().map(|seen| {
        let drawn = draw(seen.employee, 1, DEPARTMENTS.len() as i64);
        DEPARTMENTS[usize::try_from(drawn).unwrap_or(0)]
    });
    let levels = seen.iter().map(|seen| job_level(seen.employee, seen.age_weeks));
    let years = seen.iter().map(|seen| years_at_company(seen.employee, seen.age_weeks));
    let columns: [(&str, ArrayRef); 3] = [
        ("department", Arc::new(StringArray::from_iter_values(departments))),
        ("job_level", Arc::new(Int32Array::from_iter_values(levels))),
        ("years_at_company", Arc::new(Float32Array::from_iter_values(years))),
    ];
    write(path, &seen, columns)
}

/// Writes one file a week into a directory and returns how many rows that were.
pub fn write_activity(directory: &Path, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let mut rows = 0;
    for age_weeks in (0..WEEKS as i64).rev() {
        // Not everyone is evaluated every week, so the newest rows lie in several files.
        let seen: Vec<Seen> = (1..=EMPLOYEES)
            .filter(|employee| (employee + age_weeks) % 3 != 0)
            .map(|employee| see(employee, age_weeks, now))
            .collect();
        let day = (now - LAG - TimeDelta::weeks(age_weeks)).format("%Y-%m-%d");
        rows += write(&directory.join(format!("{day}.parquet")), &seen, activity(&seen))?;
    }
    Ok(rows)
}

fn activity(seen: &[Seen]) -> [(&'static str, ArrayRef); 4] {
    let drawn = |salt: i64, bound: i64| {
        seen.iter().map(move |seen| draw(seen.employee, 100 * seen.age_weeks + salt, bound))
    };
    let hours = drawn(2, 180).map(|halves| 140.0 + halves as f32 / 2.0);
    let overtime = drawn(3, 350).map(|thousandths| thousandths as f64 / 1_000.0);
    let evaluation = drawn(4, 61).map(|hundredths| (40 + hundredths) as f64 / 100.0);
    let promotions = seen.iter().map(|seen| draw(seen.employee, 5, 4));
    [
        ("average_monthly_hours", Arc::new(Float32Array::from_iter_values(hours))),
        ("overtime_ratio", Arc::new(Float64Array::from_iter_values(overtime))),
        ("last_evaluation", Arc::new(Float64Array::from_iter_values(evaluation))),
        ("promotions_last_5_years", Arc::new(Int64Array::from_iter_values(promotions))),
    ]
}

/// An employee some weeks ago; each at a second of their own.
fn see(employee: i64, age_weeks: i64, now: DateTime<Utc>) -> Seen {
    let at = now - LAG - TimeDelta::weeks(age_weeks) - TimeDelta::seconds(employee);
    Seen { employee, age_weeks, at }
}

fn job_level(employee: i64, age_weeks: i64) -> i32 {
    let level = 1 + draw(employee, 6, 5);
    // Some have been promoted on the way.
    let is_promoted = draw(employee, 7, 10) == 0 && age_weeks < 3;
    i32::try_from(level + i64::from(is_promoted)).unwrap_or(1)
}

fn years_at_company(employee: i64, age_weeks: i64) -> f32 {
    let weeks = 60 + draw(employee, 8, 800) - age_weeks;
    // Whole quarters read well.
    (weeks as f32 / WEEKS_PER_YEAR * 4.0).floor() / 4.0
}

/// A number below the bound that depends on the employee and the salt alone.
///
/// # Source
/// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
fn draw(employee: i64, salt: i64, bound: i64) -> i64 {
    let seed = employee.wrapping_mul(1_000_003).wrapping_add(salt).cast_unsigned();
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // The upper half, so that it is never negative.
    ((state ^ (state >> 31)) >> 1).cast_signed() % bound
}

fn write<const N: usize>(
    path: &Path,
    seen: &[Seen],
    features: [(&str, ArrayRef); N],
) -> anyhow::Result<usize> {
    let times = |after: TimeDelta| -> ArrayRef {
        let micros = seen.iter().map(|seen| (seen.at + after).timestamp_micros());
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
    };
    let employees = Int64Array::from_iter_values(seen.iter().map(|seen| seen.employee));
    let key: [(&str, ArrayRef); 1] = [(JOIN_KEY, Arc::new(employees))];
    let ends = [(EVENT_TIME, times(TimeDelta::zero())), (CREATED_TIME, times(RECORDED_AFTER))];
    let batch = RecordBatch::try_from_iter(key.into_iter().chain(features).chain(ends))
        .context("the sample's columns differ in length")?;
    let failed = || format!("failed to write `{}`", path.display());
    let file = File::create_new(path).with_context(failed)?;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).with_context(failed)?;
    writer.write(&batch).with_context(failed)?;
    writer.close().with_context(failed)?;
    Ok(batch.num_rows())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_the_same_each_time_and_within_bounds() {
        let drawn: Vec<i64> = (1..=200).map(|employee| draw(employee, 3, 7)).collect();
        assert_eq!(drawn, (1..=200).map(|employee| draw(employee, 3, 7)).collect::<Vec<_>>());
        assert_eq!(drawn.into_iter().collect::<BTreeSet<_>>(), (0..7).collect());
    }

    #[test]
    fn rows_of_every_week_lie_inside_it() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        for age_weeks in 0..WEEKS as i64 {
            for employee in [1, EMPLOYEES] {
                let at = see(employee, age_weeks, now).at;
                let age = now - at;
                assert!(age > TimeDelta::weeks(age_weeks), "{at}");
                assert!(age < TimeDelta::weeks(age_weeks) + TimeDelta::hours(3), "{at}");
            }
        }
    }
}
