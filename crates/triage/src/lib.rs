//! A rule-based troubleshooting agent, the floor to beat.
