//! The load generator: many calls over few connections, every answer checked, one thread.

mod call;
mod connection;
mod driver;
mod http1;
mod http2;
mod plan;
mod report;

pub use self::driver::run;
pub use self::plan::{Extent, Kind, Plan, Tls};
pub use self::report::{Handshakes, Latency, Report, Watched};
