//! Compiles the protos with a compiler written in Rust, so that no `protoc` is needed.

use std::path::PathBuf;

const PROTOS: [&str; 3] =
    ["pigeon/v1/config.proto", "pigeon/v1/resources.proto", "pigeon/demo/v1/demo.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=pigeon");
    let descriptors = protox::compile(PROTOS, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    let grpc = std::env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure()
        .build_client(grpc)
        .build_server(grpc)
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
