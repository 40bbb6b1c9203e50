//! The life of objects after their commit: fewer and larger ones; old records leave their logs, and bytes leave the
//! store when it is proven that nobody needs them.

pub mod merge;
pub mod orphans;
pub mod planner;
pub mod retention;
mod rounds;
pub mod sweep;
#[cfg(test)]
mod testing;
pub mod worker;
