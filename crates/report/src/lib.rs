//! Summary, Markdown, JUnit.
