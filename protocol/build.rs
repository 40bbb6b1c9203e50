//! Turns Kafka's messages, told in our own schema text (`schema/README.md`), into Rust: `messages.rs` with a module
//! per API, `api.rs` with the table of APIs, and `arbitrary.rs` for tests, all in `OUT_DIR`. A mistake in the text stops the build with the
//! file and line.

#[path = "build/arbitrary.rs"]
mod arbitrary;
#[path = "build/codec.rs"]
mod codec;
#[path = "build/defaults.rs"]
mod defaults;
#[path = "build/emit.rs"]
mod emit;
#[path = "build/model.rs"]
mod model;
#[path = "build/parse.rs"]
mod parse;
#[path = "build/shape.rs"]
mod shape;
#[path = "build/table.rs"]
mod table;
#[path = "build/versions.rs"]
mod versions;
#[path = "build/wire.rs"]
mod wire;

use std::error::Error;
use std::path::{Path, PathBuf};

#[expect(
    clippy::disallowed_methods,
    reason = "cargo hands a build script its folders this way"
)]
fn folder(variable: &str) -> Result<PathBuf, Box<dyn Error>> {
    Ok(PathBuf::from(std::env::var(variable)?))
}

fn read_schema(folder: &Path) -> Result<Vec<model::Api>, Box<dyn Error>> {
    let mut apis = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = std::fs::read_to_string(&path)?;
            let api = parse::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
            apis.push(api);
        }
    }
    apis.sort_by_key(|api| api.key);
    Ok(apis)
}

fn main() -> Result<(), Box<dyn Error>> {
    let schema = folder("CARGO_MANIFEST_DIR")?.join("schema");
    println!("cargo::rerun-if-changed={}", schema.display());
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=build.rs");
    let apis = read_schema(&schema)?;
    let out = folder("OUT_DIR")?;
    std::fs::write(out.join("api.rs"), table::api_keys(&apis))?;
    std::fs::write(out.join("messages.rs"), emit::messages(&apis)?)?;
    std::fs::write(out.join("arbitrary.rs"), arbitrary::arbitrary(&apis)?)?;
    Ok(())
}
