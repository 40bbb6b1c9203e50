//! Stock clients of other languages against a real broker.
fn main() {}
