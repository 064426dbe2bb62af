//! Which trace a piece of work belongs to: W3C Trace Context, level 1.
//!
//! A context is said explicitly, from the browser's request to the last service: ids are in the log whether or not
//! spans are exported anywhere.

use std::fmt;
use std::str::FromStr;

use crate::random_bytes;

/// The header and metadata key.
pub const TRACEPARENT: &str = "traceparent";

/// One piece of work in a trace (`00-<trace>-<span>-<flags>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    /// The piece of work this one is within, where it is known.
    parent: Option<[u8; 8]>,
    flags: u8,
}

/// The text is no traceparent of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid traceparent")]
pub struct ParseError;

impl TraceContext {
    /// The beginning of a new trace, sampled.
    pub fn root() -> Self {
        // Without randomness the trace is lost, the work is not.
        Self {
            trace: random_bytes().unwrap_or([0xff; 16]),
            span: random_bytes().unwrap_or([0xff; 8]),
            parent: None,
            flags: 1,
        }
    }

    /// A piece of work within this one.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            span: random_bytes().unwrap_or([0xff; 8]),
            parent: Some(self.span),
            ..self
        }
    }

    /// Work caused by whoever sent `header`; the beginning of a new trace
    /// where there is no valid one.
    pub fn continued(header: Option<&str>) -> Self {
        header
            .and_then(|text| text.parse::<Self>().ok())
            .map_or_else(Self::root, Self::child)
    }

    /// The trace, 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        hex(&self.trace)
    }

    /// The piece of work, 16 hexadecimal digits.
    pub fn span_id(&self) -> String {
        hex(&self.span)
    }

    /// The piece of work this one is within, 16 hexadecimal digits; empty
    /// where it is not known.
    pub fn parent_span_id(&self) -> String {
        self.parent.map_or_else(String::new, |span| hex(&span))
    }

    /// Whether somebody asked for it to be recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Result<[u8; N], ParseError> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return Err(ParseError);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(ParseError),
            };
            *byte = *byte << 4 | value;
        }
    }
    Ok(bytes)
}

impl FromStr for TraceContext {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(ParseError);
        let (version, trace, span, flags) = (next()?, next()?, next()?, next()?);
        let [version] = unhex(version)?;
        // Later versions may append fields; 00 and ff may not.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return Err(ParseError);
        }
        let context = Self {
            trace: unhex(trace)?,
            span: unhex(span)?,
            parent: None,
            flags: unhex::<1>(flags)?[0],
        };
        if context.trace == [0; 16] || context.span == [0; 8] {
            return Err(ParseError);
        }
        Ok(context)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (self.trace_id(), self.span_id());
        write!(f, "00-{trace}-{span}-{:02x}", self.flags)
    }
}

/// A `tracing` span at INFO that carries the ids of a [`TraceContext`]:
/// `span!("describe", context, meeting_id = %id)`.
#[macro_export]
macro_rules! span {
    ($name:literal, $context:expr $(, $($fields:tt)*)?) => {{
        let context = &$context;
        $crate::trace::tracing::info_span!(
            $name,
            trace_id = %context.trace_id(),
            span_id = %context.span_id(),
            parent_span_id = %context.parent_span_id(),
            $($($fields)*)?
        )
    }};
}

#[doc(hidden)]
pub use tracing;

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn text_round_trips() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert_eq!(context.to_string(), EXAMPLE);
        assert!(context.is_sampled());
        let child = context.child();
        assert_eq!(child.trace_id(), context.trace_id());
        assert_ne!(child.span_id(), context.span_id());
        assert_eq!(child.parent_span_id(), context.span_id());
    }

    #[test]
    fn nonsense_begins_a_new_trace() {
        for text in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319cé-b7ad6b7169203331-01",
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(ParseError), "{text}");
        }
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
        assert!(later.parse::<TraceContext>().is_ok());
        assert_ne!(TraceContext::continued(None), TraceContext::continued(None));
    }
}
