//! Reading one case: its fields, and what a decoder has to say of it.

use serde_json::Value;

use crate::varint::DecodeError;

/// One case of a vector file.
#[derive(Clone, Copy)]
pub(super) struct Case<'a>(pub(super) &'a Value);

impl<'a> Case<'a> {
    pub(super) fn get(self, name: &str) -> Result<&'a Value, String> {
        self.0.get(name).ok_or_else(|| format!("{name} is missing"))
    }

    pub(super) fn text(self, name: &str) -> Result<&'a str, String> {
        let value = self.get(name)?;
        value
            .as_str()
            .ok_or_else(|| format!("{name} is not a text"))
    }

    pub(super) fn flag(self, name: &str) -> Result<bool, String> {
        let value = self.get(name)?;
        value
            .as_bool()
            .ok_or_else(|| format!("{name} is neither true nor false"))
    }

    /// Numbers above 2^53 are written as hexadecimal text, `"0x…"`.
    pub(super) fn number(self, name: &str) -> Result<u64, String> {
        let parsed = match self.get(name)? {
            Value::String(text) => text
                .strip_prefix("0x")
                .and_then(|hex| u64::from_str_radix(hex, 16).ok()),
            other => other.as_u64(),
        };
        parsed.ok_or_else(|| format!("{name} is not a number"))
    }

    pub(super) fn small<T: TryFrom<u64>>(self, name: &str) -> Result<T, String> {
        T::try_from(self.number(name)?).map_err(|_| format!("{name} is too large"))
    }

    pub(super) fn bytes(self, name: &str) -> Result<Vec<u8>, String> {
        from_hex(self.text(name)?).ok_or_else(|| format!("{name} is not hexadecimal"))
    }

    pub(super) fn list(self, name: &str) -> Result<&'a [Value], String> {
        let value = self.get(name)?;
        let list = value
            .as_array()
            .ok_or_else(|| format!("{name} is no list"))?;
        Ok(list)
    }

    /// Where the case has an `error`, holds `told` to it.
    pub(super) fn refused(self, told: DecodeError) -> Result<(), String> {
        let (kind, what, number) = match told {
            DecodeError::Truncated { what, at } => ("truncated", what, ("at", at as u64)),
            DecodeError::Invalid { what, at } => ("invalid", what, ("at", at as u64)),
            DecodeError::TooLarge { what, len, .. } => ("too_large", what, ("len", len)),
        };
        let (number, value) = number;
        let wanted = self.text("error")?;
        if (kind, what) != (wanted, self.text("field")?) || self.number(number)? != value {
            return Err(format!("refused as {kind}, field {what}, {number} {value}"));
        }
        Ok(())
    }
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|value| value as u8))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs
        .remainder()
        .is_empty()
        .then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn same_bytes(what: &str, ours: &[u8], wanted: &[u8]) -> Result<(), String> {
    if ours == wanted {
        return Ok(());
    }
    Err(format!("{what} is {}", to_hex(ours)))
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    ours: T,
    wanted: T,
) -> Result<(), String> {
    if ours == wanted {
        return Ok(());
    }
    Err(format!("{what} is {ours:?}"))
}
