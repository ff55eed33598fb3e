//! The hands on a real kernel: namespaces, control groups, loop devices and scripts. They need root.

mod acts;
mod address;
mod adoption;
mod application;
mod fence;
mod filesystem;
mod main_process;
mod releasing;
mod support;
mod sys;
