//! What a container does: image catalogue and a small shell interpreter.
