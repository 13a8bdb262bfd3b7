//! The failure library and the steps and shim components, inside the program.
