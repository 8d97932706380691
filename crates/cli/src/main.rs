//! `kafka-restore`: the command line. Arguments become settings, settings one call into the library, and what
//! comes back is printed; there is no logic of restoring here.
//!
//! [`application`] says in which order that happens.

mod application;
mod argument;
mod command;
mod command_line;
mod config;
mod error;
mod hint;
mod interrupt;
mod logging;
mod printer;
mod progress;
#[cfg(test)]
mod reference;
mod rejects;
mod settings;
mod show;
mod text;
mod value;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    application::run(std::env::args_os().collect(), &|name| std::env::var(name).ok())
}
