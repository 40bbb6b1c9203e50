//! Consumer groups: pure machines without clocks or I/O. Time that passes is handed in, and so are the ids
//! of new members.

pub mod classic;
pub mod consumer;
pub(crate) mod coordinator;
mod kept;
pub mod subscription;

pub use kept::Saved;
