//! A coordinator over gRPC, with the queue in memory and storage in a folder.

#![allow(clippy::unwrap_used)]

mod asking;
mod collecting;
mod guarding;
mod looking;
mod memory;
mod noting;
mod owning;
mod redis;
mod rubbish;
mod ruling;
mod stitching;
mod submitting;
mod support;
mod telling;
mod web;
