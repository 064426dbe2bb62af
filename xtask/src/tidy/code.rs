//! Source text with comments and the insides of literals blanked, so that a
//! rule about code does not trip over prose. Lines and columns stay.

/// `text` with comments and literal contents replaced by spaces.
pub(super) fn blank(text: &str, rust: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => comment_end(bytes, at, rust),
            b'r' if rust && !part_of_word(bytes, at) => match raw_end(bytes, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            b'"' => literal_end(bytes, at),
            b'\'' if rust => match char_end(bytes, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            b'\'' | b'`' => literal_end(bytes, at),
            _ => {
                at += 1;
                continue;
            }
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Blanked Rust up to its first inline test module.
pub(super) fn without_tests(blanked: &str) -> &str {
    let mut from = 0;
    while let Some(found) = blanked[from..].find("#[cfg(test)]") {
        let start = from + found;
        let rest = blanked[start + "#[cfg(test)]".len()..].trim_start();
        let head = rest.split(['{', ';']).next().unwrap_or_default();
        let inline = rest[head.len()..].starts_with('{');
        if inline && head.trim_start_matches("pub(crate) ").starts_with("mod ") {
            return &blanked[..start];
        }
        from = start + 1;
    }
    blanked
}

fn part_of_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes[at..].iter().position(|byte| *byte == b'\n');
    rest.map_or(bytes.len(), |length| at + length)
}

fn comment_end(bytes: &[u8], at: usize, nests: bool) -> usize {
    let mut depth = 0usize;
    let mut here = at;
    while here + 1 < bytes.len() {
        match (&bytes[here..here + 2], nests) {
            (b"/*", true) => depth += 1,
            (b"/*", false) if depth == 0 => depth = 1,
            (b"*/", _) => {
                depth -= 1;
                if depth == 0 {
                    return here + 2;
                }
            }
            _ => {
                here += 1;
                continue;
            }
        }
        here += 2;
    }
    bytes.len()
}

fn raw_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.extend(std::iter::repeat_n(b'#', hashes));
    let length = bytes[open + 1..]
        .windows(close.len())
        .position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| open + 1 + length + close.len()))
}

fn literal_end(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let mut here = at + 1;
    while here < bytes.len() {
        match bytes[here] {
            b'\\' => here += 1,
            b'\n' if quote == b'\'' => return here,
            byte if byte == quote => return here + 1,
            _ => {}
        }
        here += 1;
    }
    bytes.len()
}

/// The end of a character literal; `None` for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes.get(at + 3..)?.iter().position(|b| *b == b'\'')?;
        return Some(at + 3 + close + 1);
    }
    let text = std::str::from_utf8(bytes.get(at + 1..bytes.len().min(at + 5))?);
    let first = match text {
        Ok(text) => text.chars().next()?.len_utf8(),
        Err(error) => std::str::from_utf8(&bytes[at + 1..at + 1 + error.valid_up_to()])
            .ok()?
            .chars()
            .next()?
            .len_utf8(),
    };
    (bytes.get(at + 1 + first) == Some(&b'\'')).then_some(at + first + 2)
}
