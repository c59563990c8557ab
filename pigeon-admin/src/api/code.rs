//! The stable codes of problems with a request itself; those of its content are in the model.
//! Each has a row in docs/errors.md.

/// The request cannot be understood at all: a path that does not decode, a body that breaks off.
pub const BAD_REQUEST: &str = "PGN-A400";
/// No token, no session, or a wrong one.
pub const UNAUTHENTICATED: &str = "PGN-A401";
/// A query parameter that does not exist or does not parse.
pub const BAD_QUERY: &str = "PGN-A402";
/// A session of the dashboard tried to write.
pub const READ_ONLY_SESSION: &str = "PGN-A403";
/// There is no object or proxy of this name.
pub const NOT_FOUND: &str = "PGN-A404";
/// The path exists, but not with this method.
pub const METHOD_NOT_ALLOWED: &str = "PGN-A405";
/// `If-Match` or `If-None-Match` does not parse.
pub const BAD_CONDITION: &str = "PGN-A406";
/// There is nothing at this path.
pub const NO_SUCH_PATH: &str = "PGN-A407";
/// The answer took too long.
pub const TIMEOUT: &str = "PGN-A408";
/// The object exists already.
pub const EXISTS: &str = "PGN-A409";
/// The configuration has moved while the request was worked on.
pub const MOVED: &str = "PGN-A410";
/// The object belongs to another owner's set.
pub const OWNED: &str = "PGN-A411";
/// A stream cannot go on from the revision that the request names.
pub const GONE: &str = "PGN-A417";
/// The object is not as the condition of the request says.
pub const CHANGED: &str = "PGN-A412";
/// The body is larger than what is taken.
pub const TOO_LARGE: &str = "PGN-A413";
/// The role or the scope of the caller's token does not allow this.
pub const NOT_PERMITTED: &str = "PGN-A414";
/// The body is of a media type that is not taken here.
pub const MEDIA_TYPE: &str = "PGN-A415";
/// More objects would be removed than the request allows.
pub const TOO_MANY_REMOVED: &str = "PGN-A416";
/// A browser asked for a host name that is not this machine.
pub const WRONG_HOST: &str = "PGN-A421";
/// Too many wrong tokens in a short time.
pub const TOO_MANY_LOGINS: &str = "PGN-A429";
/// Too many open event streams.
pub const TOO_MANY_STREAMS: &str = "PGN-A430";
/// A bug in pigeon-admin.
pub const INTERNAL: &str = "PGN-A500";
/// The store cannot read or write now.
pub const STORE: &str = "PGN-A503";
/// pigeon-admin is not ready to serve.
pub const NOT_READY: &str = "PGN-A504";
