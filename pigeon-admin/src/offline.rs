//! What can be done with a data directory beside serving from it: `backup`, `restore` and `check`.

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::data_dir::DataDir;
use crate::store::{self, Contents};

/// Writes a copy of the store to `file`, and says on stdout what is in it.
///
/// # Errors
/// The file exists, the store cannot be read, or the disk refuses.
pub async fn backup(data_dir: &Path, file: &Path) -> anyhow::Result<()> {
    let contents = store::backup(&DataDir::database_in(data_dir), file).await.context("backup")?;
    println!("wrote {}: {}", file.display(), words(&contents));
    Ok(())
}

/// Puts the backup `file` in the place of the store, and says on stdout what is there now.
///
/// # Errors
/// An admin runs on the directory, or the backup cannot be used: then nothing has changed.
pub async fn restore(data_dir: &Path, file: &Path) -> anyhow::Result<()> {
    let held = DataDir::open(data_dir)?;
    let restored = store::restore(file, &held.database()).await.context("restore")?;
    println!("restored {}: {}", file.display(), words(&restored.contents));
    if let Some(replaced) = restored.replaced {
        println!("the store that was there before is {}", replaced.display());
    }
    println!(
        "start pigeon-admin; its proxies take this configuration as soon as they are connected"
    );
    Ok(())
}

/// Says on stdout whether the store, or the backup `file`, is sound.
///
/// # Errors
/// It is not.
pub async fn check(data_dir: &Path, file: Option<&Path>) -> anyhow::Result<()> {
    let path = file.map_or_else(|| DataDir::database_in(data_dir), Path::to_owned);
    let faults = store::check(&path).await.with_context(|| format!("check {}", path.display()))?;
    for fault in &faults {
        println!("{fault}");
    }
    match faults.len() {
        0 => println!("{} is sound", path.display()),
        1 => bail!("{} has a fault; restore a backup if it cannot be mended", path.display()),
        n => bail!("{} has {n} faults; restore a backup if they cannot be mended", path.display()),
    }
    Ok(())
}

fn words(c: &Contents) -> String {
    let Contents { cluster_id, generation, revision, objects } = c;
    format!("{objects} objects, revision {revision}, generation {generation}, cluster {cluster_id}")
}
