//! CEL as the project speaks it: compile with spans, evaluate with a cost limit.
