//! `plan`: what a run would do, without writing anything.

use super::{Context, materialize};
use crate::args::Planned;
use crate::embedded::{self, Access};
use crate::{EXIT_FAILED, EXIT_LANDED, output};

/// Prints the plan; fails when a view of it would fail.
pub async fn run(context: &Context, planned: &Planned) -> anyhow::Result<u8> {
    let trigger = match planned {
        Planned::MaterializeIncremental(run) => materialize::incremental(context, run)?,
        Planned::Materialize(run) => materialize::interval(context, run)?,
    };
    let scheduler = embedded::scheduler(&context.repo, &context.environment, Access::Read).await?;
    let report = scheduler.plan(&trigger).await?;
    output::plan(context.args.output, &report)?;
    let fails = report.views.iter().any(|view| view.is_failure);
    Ok(if fails { EXIT_FAILED } else { EXIT_LANDED })
}
