//! `listener …`

use pigeon_proto::model::Kind;
use serde_json::{Value, json};

use super::Desk;
use super::object::{self, Fields};
use crate::Outcome;
use crate::cli::ListArgs;
use crate::cli::listener::{AddListener, ListenerFields, SetListener};
use crate::cli::tls::ListenerTlsFields;
use crate::cli::values::{Issuer, word};
use crate::error::Failure;
use crate::output::table::cell;

pub(crate) fn add(desk: &Desk, args: AddListener) -> Outcome {
    let mut fields = of(&args.fields)?;
    fields.text("address", Some(&args.address));
    let hint = || "pigeon-ctl proxy list".to_owned();
    object::add(desk, Kind::Listener, &args.name, fields, args.write, hint)
}

pub(crate) fn set(desk: &Desk, args: SetListener) -> Outcome {
    let mut fields = of(&args.fields)?;
    fields.text("address", args.address.as_ref());
    object::set(desk, Kind::Listener, &args.name, args.change, |_| fields)
}

pub(crate) fn list(desk: &Desk, args: ListArgs) -> Outcome {
    let heading = ["NAME", "ADDRESS", "PROTOCOL", "MAX-CONNECTIONS"];
    object::list(desk, Kind::Listener, args, heading, |listener| {
        let connections = cell(listener, "/spec/max_connections");
        let protocol = cell(listener, "/spec/protocol");
        [cell(listener, "/name"), cell(listener, "/spec/address"), protocol, connections]
    })
}

/// Its audiences are a list; of the other fields the last one given counts.
fn jwt(Issuer(given): &Issuer) -> Value {
    let mut jwt = json!({});
    for (name, value) in given {
        match (name.as_str(), jwt["audiences"].as_array_mut()) {
            ("audience", Some(audiences)) => audiences.push(json!(value)),
            ("audience", None) => jwt["audiences"] = json!([value]),
            (name, _) => jwt[name] = json!(value),
        }
    }
    if let Some(fields) = jwt.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    jwt
}

fn of(args: &ListenerFields) -> Result<Fields, Failure> {
    let mut fields = Fields::new(&args.labels);
    fields.text("protocol", args.protocol.as_ref());
    // What only raw connections have goes with them.
    if args.protocol.as_deref().is_some_and(|protocol| protocol != "tcp") {
        fields.put("idle_timeout", Some(Value::Null));
        fields.put("max_lifetime", Some(Value::Null));
    }
    fields.text("idle_timeout", args.idle_timeout.as_ref());
    fields.text("max_lifetime", args.max_lifetime.as_ref());
    fields.put("h2c_upgrade", args.h2c_upgrade);
    fields.put("max_connections", args.max_connections);
    fields.put("max_connections_per_source", args.max_connections_per_source);
    fields.put("max_streams_per_source", args.max_streams_per_source);
    fields.put("max_concurrent_streams", args.max_concurrent_streams);
    fields.put("max_header_bytes", args.max_header_bytes);
    fields.text("header_timeout", args.header_timeout.as_ref());
    if !args.jwt.is_empty() {
        let issuers = args.jwt.iter().filter(|Issuer(fields)| !fields.is_empty());
        fields.put("jwt", Some(issuers.map(jwt).collect::<Vec<_>>()));
    }
    tls(&mut fields, &args.tls)?;
    Ok(fields)
}

fn tls(fields: &mut Fields, args: &ListenerTlsFields) -> Result<(), Failure> {
    if args.tls_cert.len() == 1 && args.tls_cert[0].is_empty() {
        fields.put("tls", Some(Value::Null));
        return Ok(());
    }
    if args.tls_cert.len() != args.tls_key.len() {
        return Err(Failure::usage("give as many --tls-key as --tls-cert, in the same order"));
    }
    let pairs = args.tls_cert.iter().zip(&args.tls_key);
    let pairs: Vec<_> = pairs.map(|(c, k)| json!({ "certificate": c, "key": k })).collect();
    fields.put("tls/certificates", Some(pairs).filter(|pairs| !pairs.is_empty()));
    fields.text("tls/min_version", args.tls_min_version.as_ref());
    fields.text("tls/client_ca", args.client_ca.as_ref());
    fields.put("tls/client_certificates", args.client_certificates.map(word));
    Ok(())
}
