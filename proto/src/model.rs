//! The validated types of a configuration and every rule about them. Pure: no I/O, no clock, no async.
//!
//! JSON and YAML are read straight into these types ([`document`], [`deserr`]), so a value of one of them
//! is well-formed by construction; [`validate`] then checks what concerns several objects. Both report every
//! error they find, each with the path of its field.

mod auth;
pub mod code;
mod cors;
pub mod document;
mod engine;
mod error;
mod headers;
mod health;
mod hidden;
mod limit;
mod listener;
mod matching;
mod object;
mod own;
mod pool;
mod raw;
mod retry;
mod rewrite;
mod route;
mod tenant;
mod text;
mod tls;
mod validate;
mod wire;

pub use auth::{Auth, AuthMethod, JwksLocation, Jwt};
pub use cors::{Cors, Origin};
pub use engine::{Balance, Endpoint, Engine, HashKey, Protocol};
pub use error::{BadValue, Errors, FieldError, distance};
pub use headers::{HeaderEdits, Headers};
pub use health::{Ejection, Health, HealthCheck};
pub use hidden::{hidden_text, without_secrets};
pub use limit::{Limit, LimitPer, Rate, RateUnit};
pub use listener::{Listener, ListenerProtocol};
pub use matching::{GrpcTarget, HostPattern, HttpMethod, Match, PathPattern};
pub use object::{Key, Kind, Labels, Object, Snapshot, Spec, Versioned};
pub use own::{Answer, GrpcStatus, Host, Redirect, Scheme};
pub use pool::{Pool, PoolMode, Reuse};
pub use raw::{DeltaError, RawKey, RawObject, RawState};
pub use retry::{GRPC_NAMES, Retry, RetryOn};
pub use rewrite::{Authority, PathRewrite, Rewrite};
pub use route::{Route, Shadow, Split};
pub use tenant::{ApiKey, CertificateName, KeyHash, KeyId, Tenant, Time, TokenSubject};
pub use text::{Address, BindAddress, Millis, Name};
pub use tls::{
    CertificateFiles, ClientCertificates, EngineTls, FilePath, HostName, ListenerTls, TlsVersion,
};
pub use validate::validate;
