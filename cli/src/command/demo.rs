//! `demo`: placeholder until it is written.

/// Makes a sample repository.
pub async fn run(
    _: Option<std::path::PathBuf>,
    _: &std::collections::BTreeMap<String, String>,
) -> anyhow::Result<u8> {
    anyhow::bail!("not yet")
}
