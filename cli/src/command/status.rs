//! `status`: how far each view has got.

use api::{StatusReport, ViewReport};

use super::Context;
use crate::embedded::Access;
use crate::service::Service;
use crate::{EXIT_LANDED, output};

/// Prints one line a view of the registry, of any kind.
pub async fn run(context: &Context) -> anyhow::Result<u8> {
    let report = Service::open(context, Access::Read).await?.status().await?;
    output::value(context.args.output, &report, || text(&report))?;
    Ok(EXIT_LANDED)
}

fn text(report: &StatusReport) -> String {
    let header =
        ["VIEW", "KIND", "WATERMARK", "BEHIND", "GAPS", "LAST RUN", "AT", "WRITTEN", "STALE"];
    let mut text = output::table(header, report.views.iter().map(row));
    for view in &report.views {
        let name = &view.view;
        for gap in &view.gaps {
            let (start, end) = (gap.start, output::last(*gap));
            text.push_str(&format!("\n{name}: not materialized: {start} to {end}"));
        }
        if let Some(refusal) = &view.refusal {
            text.push_str(&format!("\n{name}: cannot be materialized here: {refusal}"));
        }
        if let Some(lost) = &view.lost {
            text.push_str(&format!(
                "\n{name}: the online store may lack what has landed: {lost}; \
                 `materialize-incremental --rebuild` brings it back"
            ));
        }
        if let Some(lease) = &view.lease {
            let (holder, until) = (&lease.holder, output::moment(lease.until));
            text.push_str(&format!("\n{name}: held by {holder} until {until} at least"));
        }
        let reason = view.last_job.as_ref().and_then(|job| job.reason.as_ref());
        if let Some(reason) = reason {
            text.push_str(&format!("\n{name}: last run: {reason}"));
        }
    }
    text
}

fn row(view: &ViewReport) -> [String; 9] {
    let dash = || "-".to_owned();
    let job = view.last_job.as_ref();
    let receipt = job.and_then(|job| job.receipt);
    let off = if view.refusal.is_some() {
        Some("refused")
    } else if !view.is_selected {
        Some("not online")
    } else {
        None
    };
    [
        view.view.clone(),
        view.kind.clone(),
        view.watermark.map_or_else(
            || off.map_or_else(|| "never".to_owned(), str::to_owned),
            |watermark| watermark.to_string(),
        ),
        view.freshness_seconds.map_or_else(dash, behind),
        view.gaps.len().to_string(),
        job.map_or_else(dash, |job| job.state.to_string()),
        job.map_or_else(dash, |job| output::moment(job.finished_at.unwrap_or(job.started_at))),
        receipt.map_or_else(dash, |receipt| output::count(receipt.counts.written)),
        receipt.map_or_else(dash, |receipt| output::count(receipt.counts.stale)),
    ]
}

/// Seconds in the two largest units that matter.
fn behind(seconds: i64) -> String {
    let (sign, seconds) = if seconds < 0 { ("-", -seconds) } else { ("", seconds) };
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{seconds}s"),
        (0, 0, _) => format!("{sign}{minutes}m{:02}s", seconds % 60),
        (0, ..) => format!("{sign}{hours}h{minutes:02}m"),
        _ => format!("{sign}{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_takes_its_two_largest_units() {
        for (seconds, text) in
            [(5, "5s"), (65, "1m05s"), (3_660, "1h01m"), (90_000, "1d01h"), (-65, "-1m05s")]
        {
            assert_eq!(behind(seconds), text);
        }
    }
}
