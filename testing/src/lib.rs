//! Real servers and a terminal for tests, each private and gone with the test that started it;
//! the documents, for tests that hold them against the code.

pub mod documents;
pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod reference;
pub mod s3;
pub mod terminal;
