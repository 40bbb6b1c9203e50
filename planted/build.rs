//! Plants the bugs of this workspace when `FLOE_PLANTED_BUGS` is set, whatever to. Not a cargo feature:
//! features of one workspace add up, and would end up in the released binary.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=FLOE_PLANTED_BUGS");
    if std::env::var_os("FLOE_PLANTED_BUGS").is_some() {
        println!("cargo::rustc-cfg=floe_planted");
    }
}
