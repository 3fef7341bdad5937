//! Real servers and a terminal for tests, each private and gone with the test that started it.

pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod s3;
pub mod terminal;
