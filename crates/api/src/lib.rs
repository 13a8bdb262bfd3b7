//! The one typed facade of CLI, desktop and server.
