//! TenantConfig.yaml: tenants, and hashes of their tokens as API keys.

use std::collections::BTreeSet;

use pigeon_proto::model::{KeyHash, Kind};
use serde_json::{Value, json};

use super::form::TenantItem;
use crate::commands::import::draft::{Draft, Field};
use crate::commands::import::names::{first_free, word};
use crate::commands::import::place::Place;

/// The longest id of a key, and the longest key.
const LONGEST_ID: usize = 32;
const LONGEST_KEY: usize = 256;

/// Which tenants may call which engine.
#[derive(Default)]
pub(super) struct Callers(Vec<(String, String)>);

impl Callers {
    /// Those of an engine.
    pub(super) fn of(&self, engine: &str) -> Vec<&str> {
        let of = self.0.iter().filter(|(of, _)| of.eq_ignore_ascii_case(engine));
        let names: BTreeSet<&str> = of.map(|(_, tenant)| tenant.as_str()).collect();
        names.into_iter().collect()
    }

    /// Whether there are no tenants at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A tenant under way: rpc-pigeon has an item for each of its scenes.
struct Tenant {
    at: Place,
    id: String,
    name: String,
    title: String,
    /// The scene and the token, in the clear; and what is written of them.
    keys: Vec<(String, String, Value)>,
}

/// Makes tenants; `engines` are those of PoolConfig.yaml, if it is there.
pub(super) fn import(
    draft: &mut Draft,
    at: &Place,
    list: Field,
    engines: Option<Vec<String>>,
) -> Callers {
    let mut callers = Callers::default();
    let (mut tenants, mut ids) = (Vec::<Tenant>::new(), BTreeSet::new());
    for (place, value) in draft.items(at, list) {
        let item: TenantItem = draft.typed(&place, Some(value));
        draft.unknown(&place, &item.other);
        let Some(index) = tenant(draft, &place, &item, &mut tenants) else { continue };
        let Some(tenant) = tenants.get_mut(index) else { continue };
        engine(draft, &place, &item, &tenant.name, engines.as_deref(), &mut callers);
        key(draft, &place, &item, tenant, &mut ids);
        if item.engine_pool_size.is_some() {
            let why =
                "slots are not set aside for tenants yet: those of a route share the engine's";
            draft.not_supported(&place.key("ENGINE_POOL_SIZE"), why);
        }
    }
    for tenant in tenants {
        let keys: Vec<Value> = tenant.keys.into_iter().map(|(.., key)| key).collect();
        let labels =
            if tenant.title.is_empty() { json!({}) } else { json!({"title": tenant.title}) };
        draft.add(&tenant.at, Kind::Tenant, &tenant.name, labels, json!({ "keys": keys }));
    }
    callers
}

/// Which of the tenants an item is of, a new one perhaps.
fn tenant(
    draft: &mut Draft,
    at: &Place,
    item: &TenantItem,
    tenants: &mut Vec<Tenant>,
) -> Option<usize> {
    let key = at.key("TENANT_ID");
    let id = draft.text(&key, &item.tenant_id).unwrap_or_default();
    if id.is_empty() {
        draft.wrong(&key, &item.tenant_id.clone().unwrap_or_default(), "write whose item this is");
        return None;
    }
    let title = draft.text(&at.key("TENANT_NAME"), &item.tenant_name).unwrap_or_default();
    let index = tenants.iter().position(|tenant| tenant.id == id).unwrap_or_else(|| {
        let name = draft.names.unique(Kind::Tenant, &id);
        let title = title.chars().take(64).collect();
        tenants.push(Tenant { at: at.clone(), id, name, title, keys: Vec::new() });
        tenants.len() - 1
    });
    let name = &tenants.get(index)?.name;
    draft.mapped(&key, format!("tenant/{name}"));
    if item.tenant_name.is_some() {
        draft.mapped(&at.key("TENANT_NAME"), format!("tenant/{name} labels.title"));
    }
    Some(index)
}

fn engine(
    draft: &mut Draft,
    at: &Place,
    item: &TenantItem,
    tenant: &str,
    engines: Option<&[String]>,
    callers: &mut Callers,
) {
    let key = at.key("ENGINE_NAME");
    let engine = draft.text(&key, &item.engine_name).unwrap_or_default();
    match engines {
        None => draft.not_supported(
            &key,
            "PoolConfig.yaml is not there, so there is no route to name the tenant in",
        ),
        Some(engines) if engines.contains(&engine.to_lowercase()) => {
            draft.mapped(
                &key,
                format!("route of {engine} auth.tenants, if calls need a token: {tenant}"),
            );
            callers.0.push((engine, tenant.to_owned()));
        }
        Some(engines) => {
            let why = format!(
                "PoolConfig.yaml has no engine of this name, only: {}; write one of them",
                engines.join(", ")
            );
            draft.wrong(&key, &engine.into(), &why);
        }
    }
}

/// The token as an API key. The proxy knows keys by the form `pgk_ID_SECRET` only, so the key is the token
/// with that in front. The token itself is neither written nor shown anywhere.
fn key(
    draft: &mut Draft,
    at: &Place,
    item: &TenantItem,
    tenant: &mut Tenant,
    ids: &mut BTreeSet<String>,
) {
    let scene_key = at.key("SCENE_CODE");
    let scene = draft.text(&scene_key, &item.scene_code).unwrap_or_default();
    let place = at.key("TOKEN");
    let token = match &item.token {
        Some(Value::String(token)) => token.trim(),
        Some(_) => {
            let why = "is a number or something else that is no text; put it in quotes";
            return draft.secret_wrong(&place, why);
        }
        None => {
            let why = "there is no TOKEN, so the tenant has no key of it; pigeon-ctl tenant key create makes one";
            return draft.not_supported(&scene_key, why);
        }
    };
    let visible = token.bytes().all(|b| b.is_ascii_graphic());
    if token.is_empty() || !visible || token.len() > LONGEST_KEY - LONGEST_ID - 5 {
        let why =
            "must be 1 to 219 printable ASCII characters without spaces; write it so, or remove it";
        return draft.secret_wrong(&place, why);
    }
    let name = &tenant.name;
    let same = |(s, t, _): &&(String, String, Value)| *s == scene && t == token;
    if let Some((.., key)) = tenant.keys.iter().find(same) {
        let id = key["id"].as_str().unwrap_or_default();
        draft.mapped(&scene_key, format!("tenant/{name} key {id}, as above"));
        return draft.mapped(&place, format!("tenant/{name} key {id}, as above"));
    }
    let base = word(&scene, LONGEST_ID, &word(name, LONGEST_ID, "k"));
    let id = first_free(&base, LONGEST_ID, |id| ids.contains(id));
    ids.insert(id.clone());
    if item.scene_code.is_some() {
        draft.mapped(&scene_key, format!("tenant/{name} keys[].id: {id}"));
    }
    draft.mapped(&place, format!(
        "tenant/{name} keys[].sha256, as a hash: its callers send pgk_{id}_ with the token behind it; such tokens can be guessed, so replace it soon (pigeon-ctl tenant key create {name})"
    ));
    let hash = KeyHash::of(format!("pgk_{id}_{token}").as_bytes()).to_string();
    tenant.keys.push((scene, token.to_owned(), json!({ "id": id, "sha256": hash })));
}
