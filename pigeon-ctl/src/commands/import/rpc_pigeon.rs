//! rpc-pigeon: its files, and in which order what they say is understood.

mod engines;
mod form;
mod http_routes;
mod program;
mod settings;
mod tenants;

use std::path::Path;

use pigeon_proto::model::code;
use serde_json::Value;

use self::form::{PoolFile, RouteFile, TenantFile, folded};
use super::draft::Draft;
use super::place::Place;
use crate::commands::files;
use crate::error::Failure;

/// The files; all are optional, but one of the first four must be there.
const FILES: [&str; 5] =
    ["Config.yaml", "PoolConfig.yaml", "RouteConfig.yaml", "TenantConfig.yaml", "VSConfig.yaml"];

/// Reads the files of a folder.
///
/// # Errors
/// There are none, or one cannot be read. What is wrong in them is in the draft.
pub(super) fn read(folder: &Path) -> Result<Draft, Failure> {
    let mut draft = Draft::default();
    let [config, pool, routes, tenants, vs] = FILES;
    let is_there = |name: &str| folder.join(name).exists();
    if !FILES.iter().take(4).any(|name| is_there(name)) {
        let detail = format!(
            "{}: there is none of {config}, {pool}, {routes} and {tenants}; name the folder that has them",
            folder.display()
        );
        return Err(Failure::usage(detail));
    }
    for missing in FILES.iter().take(4).filter(|name| !is_there(name)) {
        draft.not_needed(&Place::of(*missing), "the file is not there");
    }
    let config_file = file(&mut draft, folder, config)?;
    let pool_file = file(&mut draft, folder, pool)?;
    let route_file = file(&mut draft, folder, routes)?;
    let tenant_file = file(&mut draft, folder, tenants)?;
    let vs_file = file(&mut draft, folder, vs)?;

    let at = Place::of(pool);
    let pool_there = pool_file.is_some();
    let found: PoolFile = draft.typed(&at, pool_file.map(|v| folded(v, str::to_lowercase)));
    draft.unknown(&at, &found.other);
    let found = engines::parse(&mut draft, &at.key("pool"), found.pool);

    let at = Place::of(tenants);
    let tenant_list: TenantFile =
        draft.typed(&at, tenant_file.map(|v| folded(v, str::to_lowercase)));
    draft.unknown(&at, &tenant_list.other);
    let known = pool_there.then(|| found.names());
    let callers = tenants::import(&mut draft, &at.key("tenants"), tenant_list.tenants, known);

    let at = Place::of(routes);
    let list: RouteFile = draft.typed(&at, route_file.map(|v| folded(v, str::to_lowercase)));
    draft.unknown(&at, &list.other);
    let http = http_routes::parse(&mut draft, &at.key("route"), list.route);

    // Engines first, so that of two listeners with one name it is theirs that keeps it.
    engines::import(&mut draft, found, &callers);
    let served = program::import(&mut draft, &Place::of(config), config_file, !http.is_empty());
    http_routes::import(&mut draft, http, &served);
    if let Some(value) = vs_file {
        program::deploying(&mut draft, &Place::of(vs), &value);
    }
    Ok(draft)
}

/// What a file holds; none if it is not there.
fn file(draft: &mut Draft, folder: &Path, name: &str) -> Result<Option<Value>, Failure> {
    let path = folder.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let at = Place::of(name);
    let Some(text) = files::text(&path)? else {
        draft.errors.push(files::not_text().of(name));
        return Ok(None);
    };
    match serde_saphyr::from_str::<Value>(&text) {
        Ok(value) => Ok(Some(value)),
        Err(_) if text.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) => {
            Ok(Some(Value::Null))
        }
        Err(e) => {
            // Its first line says where; the lines after it would repeat the file, tokens and all.
            let why = e.to_string();
            let why = why.lines().next().unwrap_or_default();
            draft.errors.push(at.error(code::MALFORMED, format!("is not YAML: {why}")));
            Ok(None)
        }
    }
}
