//! The real binary, as scripts and people call it: what goes to which stream, exit codes, and that wrong input writes
//! nothing. One test binary, so that it is linked once.

mod accepting;
mod inputs;
mod inspect;
mod logs;
mod reading;
mod running;
mod schemas;
mod selection;
mod support;
mod usage;
