//! The result: one aligned line for each case.

use crate::measure::Cost;

/// A case and its cost.
#[derive(Clone, Debug)]
pub struct Line {
    /// What was measured.
    pub case: String,
    /// What it cost.
    pub cost: Cost,
}

const HEADER: [&str; 6] = ["case", "rows", "rows/s", "of raw", "CPU µs/row", "peak MiB"];

/// The table, with each rate as a share of `raw` rows a second.
#[must_use]
pub fn table(lines: &[Line], raw: f64) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(lines.iter().map(|line| cells(line, raw)));
    aligned(&rows)
}

/// Lines of cells below each other: the first of each line to the left, numbers to the right.
#[must_use]
pub fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |row: &[String; COLUMNS]| {
        let mut text = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => text.push_str(&format!("{cell:<width$}")),
                _ => text.push_str(&format!("  {cell:>width$}")),
            }
        }
        text
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn cells(line: &Line, raw: f64) -> [String; HEADER.len()] {
    const MIB: f64 = 1_048_576.0;
    let cost = &line.cost;
    let rate = cost.rows_per_second();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    [
        line.case.clone(),
        count(cost.rows),
        count(rate.round() as u64),
        format!("{:.2} ×", rate / raw),
        or_dash(cost.cpu_micros_per_row().map(|micros| format!("{micros:.2}"))),
        or_dash(cost.memory_bytes_max.map(|bytes| format!("{:.0}", bytes as f64 / MIB))),
    ]
}

/// A number with its thousands apart.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn columns_are_aligned_and_rates_are_shares_of_raw() {
        let raw = Cost { rows: 1_000, wall: Duration::from_millis(10), ..Cost::default() };
        let slow = Cost {
            wall: Duration::from_millis(40),
            cpu: Some(Duration::from_millis(2)),
            memory_bytes_max: Some(3 << 20),
            ..raw
        };
        let line = |case: &str, cost| Line { case: case.to_owned(), cost };
        let text = table(&[line("raw", raw), line("slow one", slow)], 100_000.0);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()));
        assert!(lines[1].contains("100,000") && lines[1].contains("1.00 ×"), "{text}");
        for part in ["25,000", "0.25 ×", "2.00", " 3"] {
            assert!(lines[2].contains(part), "{part}: {text}");
        }
    }
}
