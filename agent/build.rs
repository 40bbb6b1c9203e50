//! Makes Rust of the internal `.proto` file, without a `protoc` program.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const PROTO: &str = "proto/peer.proto";
    println!("cargo::rerun-if-changed={PROTO}");
    let files = protox::compile([PROTO], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(files)?;
    Ok(())
}
