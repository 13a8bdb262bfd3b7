//! Label and field selectors: text to tests, as apimachinery reads it, and back to one canonical spelling.

mod fields;
mod labels;

pub(crate) use fields::FieldSelector;
pub(crate) use labels::LabelSelector;
