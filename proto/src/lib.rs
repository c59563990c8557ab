//! Everything that crosses a process boundary of Pigeon, and what it means.
//!
//! [`model`] holds the validated types and every rule about them; it does no I/O and is used alike by
//! the admin, the proxy and the CLI. [`v1`] and [`demo`] are the generated wire forms.

pub mod digest;
pub mod model;

/// Generated from `pigeon/v1/*.proto`: the config stream and the objects it carries.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/pigeon.v1.rs"));
}

/// The demo engine's services.
pub mod demo {
    /// Generated from `pigeon/demo/v1/demo.proto`.
    #[allow(missing_docs, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/pigeon.demo.v1.rs"));
    }
}

/// The compiled protos as an encoded `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
