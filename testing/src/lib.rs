//! Real servers for tests, each private and gone with the test that started it.

pub mod proxy;
pub mod redis;
pub mod s3;
