//! Consumer groups: pure machines without clocks or I/O. Time that passes is handed in, and so are the ids
//! of new members.

pub mod classic;
pub(crate) mod coordinator;
pub mod subscription;
