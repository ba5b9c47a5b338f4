//! Random values of every type, through Tidegate and through Feast, byte for byte.

use anyhow::{Context, Result};

use crate::repository::{Backend, Repository, Side};

const WINDOW: [&str; 3] = ["materialize", "2024-01-01T00:00:00", "2024-01-02T00:00:00"];
/// Seeds of the values. Fixed, so that the suite says the same every day.
const SEEDS: [u32; 2] = [1, 20_260_201];
/// Set to a number, it tries the values of that seed instead.
const SEED: &str = "TIDEGATE_COMPAT_SEED";

#[test]
fn every_type_gives_feasts_bytes() -> Result<()> {
    let seeds = match std::env::var(SEED) {
        Ok(seed) => vec![seed.parse().with_context(|| format!("`{SEED}` is no number"))?],
        Err(_) => SEEDS.to_vec(),
    };
    for seed in seeds {
        compare(seed).with_context(|| format!("{SEED}={seed} shows it alone"))?;
    }
    Ok(())
}

fn compare(seed: u32) -> Result<()> {
    let backend = Backend::FileAndRedis { redis: harness::Redis::start()? };
    let mut repository = Repository::make(backend, "every_type.py", "every_type.py", seed)?;
    for side in Side::BOTH {
        repository.apply(side, 0)?;
    }
    repository.feast(Side::Reference, &WINDOW)?;
    repository.tidegate(&WINDOW)?;
    repository.assert_same_bytes("random values")
}
