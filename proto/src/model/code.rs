//! The stable codes that errors carry, in REST, CLI, logs and docs/errors.md.

/// The text is not JSON or YAML at all.
pub const MALFORMED: &str = "PGN-V100";
/// A field that does not exist.
pub const UNKNOWN_FIELD: &str = "PGN-V101";
/// A value of the wrong type.
pub const WRONG_TYPE: &str = "PGN-V102";
/// A required field is absent.
pub const MISSING_FIELD: &str = "PGN-V103";
/// A word that is not one of the allowed ones.
pub const UNKNOWN_VALUE: &str = "PGN-V104";
/// A value of the right type that cannot be used: does not parse, or is out of range.
pub const BAD_VALUE: &str = "PGN-V105";
/// Fields that exclude or need each other.
pub const CONFLICTING_FIELDS: &str = "PGN-V106";
/// The same object twice in one request or file.
pub const DUPLICATE_OBJECT: &str = "PGN-V107";
/// A route names an engine that does not exist.
pub const UNKNOWN_ENGINE: &str = "PGN-R101";
/// A route names a listener that does not exist.
pub const UNKNOWN_LISTENER: &str = "PGN-R102";
/// Two routes match the same calls with the same priority.
pub const ROUTE_OVERLAP: &str = "PGN-R104";
/// Two listeners on one address.
pub const ADDRESS_TAKEN: &str = "PGN-L101";
/// One address twice among the endpoints of an engine.
pub const DUPLICATE_ENDPOINT: &str = "PGN-E101";
/// Pool settings that contradict each other.
pub const POOL: &str = "PGN-E102";
/// An engine that routes still use cannot be removed.
pub const ENGINE_IN_USE: &str = "PGN-E103";
/// A route is for a tenant that does not exist.
pub const UNKNOWN_TENANT: &str = "PGN-R110";
/// A route asks for tokens where no issuer of any is believed.
pub const NO_ISSUER: &str = "PGN-R111";
/// Two tenants with the same key, certificate or subject.
pub const SHARED_CREDENTIAL: &str = "PGN-T101";
/// A proxy cannot listen on an address.
pub const CANNOT_LISTEN: &str = "PGN-P301";
/// A proxy got an object that it cannot read or use.
pub const CANNOT_USE: &str = "PGN-P302";
