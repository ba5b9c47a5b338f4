//! `plan`: what a run would do, without writing anything.

use api::RunRequest;

use super::Context;
use crate::embedded::Access;
use crate::service::Service;
use crate::{EXIT_FAILED, EXIT_LANDED, output};

/// Prints the plan; fails when a view of it would fail.
pub async fn run(context: &Context, request: &RunRequest) -> anyhow::Result<u8> {
    let report = Service::open(context, Access::Read).await?.plan(request).await?;
    output::plan(context.args.output, &report)?;
    let fails = report.views.iter().any(|view| view.is_failure);
    Ok(if fails { EXIT_FAILED } else { EXIT_LANDED })
}
