//! What belongs to Feast, byte for byte: its configuration, registry messages, values and keys.
//!
//! Pure: no I/O, nothing async, no clock. The contract is Feast 0.67.0; every module names the
//! Feast behaviour it follows. Deliberately absent: Arrow (see `jobs::encode`), Redis and SQL.

pub mod config;
pub mod datetime;
pub mod duration;
pub mod entity_key;
pub mod feature_view;
pub mod interval;
pub mod redis_layout;
pub mod registry;
pub mod serving;
pub mod text;
pub mod timestamp;
pub mod value;
pub mod value_type;

pub use feature_view::{
    DataSource, Entity, FeatureService, FeatureView, Field, JoinKey, ProjectionRef, Refusal,
    ViewKind,
};
pub use value_type::ValueType;
