//! YAML that people write: one parser, spans, diagnostics with suggestions.
