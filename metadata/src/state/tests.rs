//! Scripts, properties and crashes of the state machine.
