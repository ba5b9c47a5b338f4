//! The repository: where `feature_store.yaml` is, by Feast's rules, and what it says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine as _;
use feast::config::{OnlineStoreConfig, RegistryLocation, RepoConfig};

use crate::args::Args;

/// A repository and its configuration.
#[derive(Debug)]
pub struct Repo {
    /// Relative source paths are relative to it.
    pub dir: PathBuf,
    /// What `feature_store.yaml` says.
    pub config: RepoConfig,
    /// URL of the ledger.
    pub ledger: String,
    /// Options of object stores.
    pub object_store: BTreeMap<String, String>,
}

/// Feast reads the configuration from here when it is set, instead of from a file.
const YAML_BASE64: &str = "FEATURE_STORE_YAML_BASE64";

impl Repo {
    /// Finds and reads the configuration.
    pub fn load(args: &Args, environment: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let cwd = std::env::current_dir().context("failed to read the working directory")?;
        let (dir, text, shown) = match environment.get(YAML_BASE64) {
            Some(encoded) => from_base64(encoded)?,
            None => from_file(args, &cwd)?,
        };
        let lookup = |name: &str| environment.get(name).cloned();
        let config = RepoConfig::parse(&text, &dir, &cwd, &lookup)
            .with_context(|| format!("`{shown}` cannot be used"))?;
        let object_store = object_store_options(&config, environment);
        let ledger = args
            .metastore
            .clone()
            .or_else(|| config.tidegate.metastore.clone())
            .map_or_else(|| default_ledger(&config.registry.location), Ok)?;
        Ok(Self { dir, config, ledger, object_store })
    }
}

fn from_base64(encoded: &str) -> anyhow::Result<(PathBuf, String, String)> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .with_context(|| format!("`{YAML_BASE64}` is no base64 text"))?;
    let text =
        String::from_utf8(bytes).with_context(|| format!("`{YAML_BASE64}` holds no UTF-8 text"))?;
    // Feast resolves relative paths in a fresh directory then, where nothing can be.
    let dir = std::env::temp_dir().join(format!("tidegate-{}", std::process::id()));
    Ok((dir, text, YAML_BASE64.to_owned()))
}

fn from_file(args: &Args, cwd: &Path) -> anyhow::Result<(PathBuf, String, String)> {
    let dir = args.chdir.as_ref().map_or_else(|| cwd.to_path_buf(), |dir| cwd.join(dir));
    let file = match &args.feature_store_yaml {
        Some(file) => cwd.join(file),
        None => dir.join("feature_store.yaml"),
    };
    let shown = file.display().to_string();
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok((dir, text, shown)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "there is no `{shown}`; run this in a feature repository, or name one with --chdir or \
             --feature-store-yaml"
        ),
        Err(error) => Err(error).with_context(|| format!("failed to read `{shown}`")),
    }
}

/// `AWS_*`, `GOOGLE_*` and `AZURE_*` of the environment by their object_store names, then what
/// the configuration says.
fn object_store_options(
    config: &RepoConfig,
    environment: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let is_store =
        |name: &str| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix));
    let mut options: BTreeMap<String, String> = environment
        .iter()
        .filter(|(name, _)| is_store(name))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect();
    if let Some(url) = options.remove("aws_endpoint_url") {
        options.insert("aws_endpoint".to_owned(), url);
    }
    options.extend(config.tidegate.object_store.clone());
    options
}

/// The registry's own options: Feast has an endpoint variable for it alone.
pub fn registry_options(
    repo: &Repo,
    environment: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut options = repo.object_store.clone();
    if let Some(endpoint) = environment.get("FEAST_S3_ENDPOINT_URL") {
        options.insert("aws_endpoint".to_owned(), endpoint.clone());
    }
    options
}

/// The ledger lives where the registry lives.
fn default_ledger(registry: &RegistryLocation) -> anyhow::Result<String> {
    match registry {
        RegistryLocation::Postgres(url) => Ok(url.clone()),
        RegistryLocation::File(path) | RegistryLocation::Sqlite(path) => {
            let beside = path.with_file_name("tidegate.sqlite");
            Ok(beside.display().to_string())
        }
        RegistryLocation::Object(url) => bail!(
            "the registry `{url}` is an object; a ledger cannot live beside it. Name a database \
             with `tidegate: {{metastore: postgresql://…}}` or --metastore"
        ),
    }
}

/// The online store in words, without secrets.
pub fn online_store_name(config: &OnlineStoreConfig) -> String {
    match config {
        OnlineStoreConfig::Redis(redis) => format!("redis {}/{}", redis.servers, redis.db),
        OnlineStoreConfig::Sqlite { path } => format!("sqlite {}", path.display()),
    }
}
