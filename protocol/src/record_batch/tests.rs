//! Tests of the record batch view.
