//! What can be done with a store beside serving from it: `backup`, `restore` and `check`.

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::data_dir::DataDir;
use crate::store::{self, Contents, Place};

/// Writes a copy of the store to `file`, and says on stdout what is in it.
///
/// # Errors
/// The file exists, the store cannot be read, or the disk refuses.
pub async fn backup(place: &Place, file: &Path) -> anyhow::Result<()> {
    let contents = store::backup(place, file).await.context("backup")?;
    println!("wrote {}: {}", file.display(), words(&contents));
    Ok(())
}

/// Puts the backup `file` in the place of the store, and says on stdout what is there now.
///
/// # Errors
/// An admin runs on the directory, or the backup cannot be used: then nothing has changed.
pub async fn restore(place: &Place, data_dir: &Path, file: &Path) -> anyhow::Result<()> {
    let _held = DataDir::open(data_dir)?;
    let restored = store::restore(file, place, data_dir).await.context("restore")?;
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
pub async fn check(place: &Place, file: Option<&Path>) -> anyhow::Result<()> {
    let place = file.map_or_else(|| place.clone(), Place::from);
    let faults = store::check(&place).await.with_context(|| format!("check {place}"))?;
    for fault in &faults {
        println!("{fault}");
    }
    match faults.len() {
        0 => println!("{} is sound", place),
        1 => bail!("{} has a fault; restore a backup if it cannot be mended", place),
        n => bail!("{} has {n} faults; restore a backup if they cannot be mended", place),
    }
    Ok(())
}

fn words(c: &Contents) -> String {
    let Contents { cluster_id, generation, revision, objects } = c;
    format!("{objects} objects, revision {revision}, generation {generation}, cluster {cluster_id}")
}
