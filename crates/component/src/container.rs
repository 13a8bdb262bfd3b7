//! The outermost layer of a component: a header and a row of sections. Needs no knowledge of what the sections hold, so it
//! works on every version of the component model. Used to find, add and remove custom sections.

use std::ops::Range;

/// `\0asm`, version 13, layer 1: a component.
pub(crate) const COMPONENT_HEADER: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
/// `\0asm`, version 1: a core module.
pub(crate) const MODULE_HEADER: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

/// One section of the outermost layer.
pub(crate) struct Section<'a> {
    pub(crate) id: u8,
    /// Where it lies, its own header included.
    pub(crate) range: Range<usize>,
    /// The name, when it is a custom section.
    pub(crate) custom_name: Option<&'a str>,
    /// What it holds; for a custom section what comes after the name.
    pub(crate) data: &'a [u8],
}

/// A section that is said to go on where the bytes have ended, or whose length cannot be read.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) offset: usize,
}

/// The sections after the header of 8 bytes.
pub(crate) fn sections(bytes: &[u8]) -> Result<Vec<Section<'_>>, Broken> {
    let mut sections = Vec::new();
    let mut at = COMPONENT_HEADER.len();
    while let Some(&id) = bytes.get(at) {
        let broken = Broken { offset: at };
        let Some((size, content)) = leb_u32(bytes, at + 1) else { return Err(broken) };
        let Some(end) = content.checked_add(size).filter(|end| *end <= bytes.len()) else { return Err(broken) };
        let content = &bytes[content..end];
        let (custom_name, data) = if id == 0 {
            let Some((name, data)) = custom(content) else { return Err(broken) };
            (Some(name), data)
        } else {
            (None, content)
        };
        sections.push(Section { id, range: at..end, custom_name, data });
        at = end;
    }
    Ok(sections)
}

fn custom(content: &[u8]) -> Option<(&str, &[u8])> {
    let (length, start) = leb_u32(content, 0)?;
    let end = start.checked_add(length)?;
    let name = std::str::from_utf8(content.get(start..end)?).ok()?;
    Some((name, &content[end..]))
}

/// An unsigned LEB128 number of at most 32 bits: its value and where it ends.
fn leb_u32(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let mut value: u64 = 0;
    for index in 0..5 {
        let byte = *bytes.get(start.checked_add(index)?)?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((value as usize, start + index + 1));
        }
    }
    None
}
