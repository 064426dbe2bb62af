//! Ids, each its own type so that none is taken for another.

use std::fmt;
use std::str::FromStr;

/// Why a text is not an id or a meeting code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0}")]
pub struct ParseError(pub &'static str);

macro_rules! id16 {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// The id in `bytes`, which must be 16 long.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, ParseError> {
                bytes.try_into().map(Self).map_err(|_| ParseError($what))
            }

            /// The id's bytes, for a message.
            pub fn to_vec(self) -> Vec<u8> {
                self.0.to_vec()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                parse_hex(text).map(Self).ok_or(ParseError($what))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id16!(
    /// A meeting; 32 lower-case hexadecimal digits in text.
    MeetingId, "meeting id"
);
id16!(
    /// One attendance of a meeting, the same across reconnects.
    ParticipantId, "participant id"
);
id16!(
    /// A running service instance.
    NodeId, "node id"
);

fn parse_hex(text: &str) -> Option<[u8; 16]> {
    let digits = text.as_bytes();
    if digits.len() != 32 {
        return None;
    }
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(id)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// A track of a meeting. Unique in the meeting, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TrackId(pub u32);

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The growing number that comes with the right to own a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fence(pub u64);

/// A generation of a meeting's group key (the MLS epoch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch that a commit made in this one leads to.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What people read to one another to meet: `abc-defg-hij`, ten letters.
///
/// 26^10 codes: at 1,000 tries a second, a million running meetings and no rate
/// limit, a scan needs 39 hours for its first hit on average; joins are rate limited.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeetingCode([u8; 10]);

impl MeetingCode {
    /// The code that 10 letter numbers (0 to 25) spell; others wrap around.
    pub fn from_letters(letters: [u8; 10]) -> Self {
        Self(letters.map(|letter| b'a' + letter % 26))
    }
}

impl fmt::Display for MeetingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, letter) in self.0.iter().enumerate() {
            if at == 3 || at == 7 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(*letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for MeetingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeetingCode({self})")
    }
}

impl FromStr for MeetingCode {
    type Err = ParseError;

    /// Accepts upper case, and the dashes in place or left out.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = ParseError("meeting code");
        let text = text.as_bytes();
        let dashed = text.len() == 12 && text[3] == b'-' && text[8] == b'-';
        if !dashed && text.len() != 10 {
            return Err(bad);
        }
        let mut code = [0; 10];
        let letters = text
            .iter()
            .enumerate()
            .filter(|(at, _)| !dashed || (*at != 3 && *at != 8));
        for (place, (_, letter)) in code.iter_mut().zip(letters) {
            *place = match letter.to_ascii_lowercase() {
                letter @ b'a'..=b'z' => letter,
                _ => return Err(bad),
            };
        }
        Ok(Self(code))
    }
}
