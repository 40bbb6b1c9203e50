//! Scripts (command in, reply and state out), a reference model, crashes at random points, damaged rows.

mod commits;
mod configs;
mod consumer_groups;
mod fixtures;
mod groups;
mod idempotence;
mod merges;
mod model;
mod objects;
mod processes;
mod recovery;
mod rows;
mod topics;
