//! `engine drain` and `engine undrain`

use pigeon_proto::model::Kind;
use serde_json::Value;

use crate::Outcome;
use crate::cli::engine::DrainArgs;
use crate::commands::Desk;
use crate::commands::object::{self, Fields};
use crate::error::Failure;

pub(crate) fn drain(desk: &Desk, args: &DrainArgs, drain: bool) -> Outcome {
    object::rewrite(desk, Kind::Engine, &args.name, args.change, |before| {
        let endpoints = drained(before, &args.endpoints, drain)
            .map_err(|f| f.next(format!("pigeon-ctl engine endpoints {}", args.name)))?;
        let mut fields = Fields::default();
        fields.put("endpoints", Some(endpoints));
        Ok(fields)
    })
}

/// The endpoints of an engine, those of `chosen`, or all, with `drain` set so.
fn drained(engine: &Value, chosen: &[String], drain: bool) -> Result<Vec<Value>, Failure> {
    let endpoints = engine.pointer("/spec/endpoints").and_then(Value::as_array);
    let mut endpoints = endpoints.cloned().unwrap_or_default();
    let is = |endpoint: &Value, address: &String| {
        let found = endpoint.get("address").and_then(Value::as_str);
        found.is_some_and(|found| found.eq_ignore_ascii_case(address))
    };
    let name = engine.get("name").and_then(Value::as_str).unwrap_or_default();
    if let Some(missing) = chosen.iter().find(|c| !endpoints.iter().any(|e| is(e, c))) {
        return Err(Failure::not_found(format!("engine \"{name}\" has no endpoint \"{missing}\"")));
    }
    if endpoints.is_empty() {
        return Err(Failure::not_found(format!("engine \"{name}\" has no endpoints")));
    }
    let wanted = |e: &Value| chosen.is_empty() || chosen.iter().any(|c| is(e, c));
    for endpoint in endpoints.iter_mut().filter(|e| wanted(e)) {
        endpoint["drain"] = drain.into();
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_chosen_change() {
        let engine = json!({"name": "asr", "spec": {"endpoints":
            [{"address": "a:1", "weight": 2, "drain": false}, {"address": "b:1", "drain": true}]}});
        let drains = |chosen: &[&str], drain| {
            let chosen: Vec<String> = chosen.iter().map(ToString::to_string).collect();
            let endpoints = drained(&engine, &chosen, drain).map_err(|f| f.to_string())?;
            assert_eq!((&endpoints[0]["weight"], endpoints.len()), (&json!(2), 2));
            Ok::<_, String>(endpoints.iter().map(|e| e["drain"] == true).collect::<Vec<_>>())
        };
        assert_eq!(drains(&[], true), Ok(vec![true, true]));
        assert_eq!(drains(&["A:1"], true), Ok(vec![true, true]));
        assert_eq!(drains(&["b:1"], false), Ok(vec![false, false]));
        assert_eq!(
            drains(&["a:1", "c:1"], true),
            Err("engine \"asr\" has no endpoint \"c:1\"".into())
        );
        assert!(drained(&json!({"name": "x", "spec": {"endpoints": []}}), &[], true).is_err());
    }
}
