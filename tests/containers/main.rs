//! What `deploy/` holds, as it is given to users: the image and the balancer's settings in Docker, the
//! chart through `helm`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and says where"
)]

mod balanced;
mod chart;
mod stack;
