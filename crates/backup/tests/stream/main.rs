//! The stream of one partition against small made-up backups in memory: every rule of merging, a model with an
//! oracle, broken bodies, and the memory budget.

mod cases;
mod crowd;
mod damage;
mod files;
mod memory;
mod model;
mod seekable;
mod support;
