//! Replays the files of `proto/vectors` that concern this crate. The native and the WASM build run this same code, so
//! that both are held to the same bytes.

use std::sync::Arc;

use darktower_wire::ids::{Epoch, ParticipantId};
use mls_rs::CipherSuiteProvider;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::code::VerificationCode;
use crate::header::{Header, MAX_HEADER, kid_of};
use crate::identity::{LinkSecret, suite};
use crate::keyring::Keyring;
use crate::keys::EpochKeys;
use crate::seal::Sealer;
use crate::sframe::{BASE_KEY, FrameKey, TAG, derive_key_salt};

/// Checks every case of one vector file (JSON) and says how many there were, or which one failed and how.
pub fn check(json: &str) -> Result<usize, String> {
    let file: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let sections: [(&str, Check); 7] = [
        ("sframe_headers", sframe_header),
        ("sframe_aead", sframe_aead),
        ("frames", frame),
        ("verification_codes", verification_code),
        ("links", link),
        ("mls_expand_with_label", mls_expand),
        ("mls_exporter", mls_exporter),
    ];
    let mut count = 0;
    for (name, check) in sections {
        let cases = file
            .get(name)
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        for (at, case) in cases.iter().enumerate() {
            check(case).map_err(|error| format!("{name}[{at}]: {error}"))?;
        }
        count += cases.len();
    }
    match count {
        0 => Err("no vectors in this file".into()),
        count => Ok(count),
    }
}

type Check = fn(&Value) -> Result<(), String>;

fn sframe_header(case: &Value) -> Result<(), String> {
    let header = Header {
        kid: number(case, "kid")?,
        counter: number(case, "ctr")?,
    };
    let encoded = bytes(case, "encoded")?;
    let mut out = [0; MAX_HEADER];
    let len = header.encode(&mut out);
    same("encoded", &out[..len], &encoded)?;
    match Header::decode(&encoded) {
        Some((decoded, len)) if decoded == header && len == encoded.len() => Ok(()),
        other => Err(format!("decoded as {other:?}")),
    }
}

fn sframe_aead(case: &Value) -> Result<(), String> {
    let (kid, counter) = (number(case, "kid")?, number(case, "ctr")?);
    let base_key = array::<BASE_KEY>(case, "base_key")?;
    let (key, salt) = derive_key_salt(kid, &base_key);
    same("sframe_key", &*key, &bytes(case, "sframe_key")?)?;
    same("sframe_salt", &*salt, &bytes(case, "sframe_salt")?)?;

    let sealed = bytes(case, "ct")?;
    let mut header = [0; MAX_HEADER];
    let len = Header { kid, counter }.encode(&mut header);
    let mut aad = header[..len].to_vec();
    aad.extend(bytes(case, "metadata")?);
    same("aad", &aad, &bytes(case, "aad")?)?;
    let key = FrameKey::derive(kid, &base_key);
    let mut buffer = bytes(case, "pt")?;
    let plaintext = buffer.clone();
    let tag = key
        .seal(counter, &aad, &mut buffer)
        .map_err(|_| "not sealed")?;
    same("ct", &[&header[..len], &buffer, &tag].concat(), &sealed)?;
    key.open(counter, &aad, &mut buffer, tag)
        .map_err(|_| "not opened")?;
    same("pt", &buffer, &plaintext)
}

/// A whole frame as it leaves a [`Sealer`] and enters a [`Keyring`].
fn frame(case: &Value) -> Result<(), String> {
    let (leaf, epoch) = (number(case, "leaf")?, number(case, "epoch")?);
    let leaf = u32::try_from(leaf).map_err(|_| "leaf is too large")?;
    if u64::from(leaf) > 4096 {
        return Err("leaf is too large for a vector".into());
    }
    let kid = number(case, "kid")?;
    if kid != kid_of(leaf, epoch) {
        return Err(format!("kid is {}", kid_of(leaf, epoch)));
    }
    let sender = ParticipantId(array(case, "participant")?);
    let mut members = vec![None; leaf as usize + 1];
    members[leaf as usize] = Some(sender);
    let base_key = Zeroizing::new(array::<BASE_KEY>(case, "base_key")?);
    let keys = EpochKeys::new(Epoch(epoch), leaf, base_key, Arc::from(members));

    let (aad, plaintext, sealed) = (
        bytes(case, "aad")?,
        bytes(case, "plaintext")?,
        bytes(case, "sealed")?,
    );
    let counter = number(case, "counter")?;
    let mut sealer = Sealer::new(keys.sealing);
    let mut out = Vec::new();
    for _ in 0..=counter.min(1000) {
        out.clear();
        sealer
            .seal(&aad, &plaintext, &mut out)
            .map_err(|error| error.to_string())?;
    }
    same("sealed", &out, &sealed)?;

    let mut keyring = Keyring::new();
    keyring.install(std::time::Duration::ZERO, keys.opening);
    let mut opened = Vec::new();
    let as_opened = keyring
        .open(sender, &aad, &sealed, &mut opened)
        .map_err(|error| error.to_string())?;
    same("plaintext", &opened, &plaintext)?;
    if (as_opened.counter, as_opened.leaf, as_opened.epoch) != (counter, leaf, Epoch(epoch)) {
        return Err(format!("opened as {as_opened:?}"));
    }
    let mut tampered = sealed;
    let last = tampered.len() - TAG;
    tampered[last] ^= 1;
    match keyring.open(sender, &aad, &tampered, &mut opened) {
        Err(_) => Ok(()),
        Ok(_) => Err("a changed frame was opened".into()),
    }
}

fn verification_code(case: &Value) -> Result<(), String> {
    let code = VerificationCode::from_authenticator(&bytes(case, "epoch_authenticator")?)
        .ok_or("no code")?;
    match text(case, "code")? {
        wanted if wanted == code.to_string() => Ok(()),
        _ => Err(format!("code is {code}")),
    }
}

fn link(case: &Value) -> Result<(), String> {
    let link =
        LinkSecret::from_fragment(text(case, "fragment")?).map_err(|error| error.to_string())?;
    same("psk", link.psk().raw_value(), &bytes(case, "psk")?)?;
    same(
        "fragment",
        link.to_fragment().as_bytes(),
        text(case, "fragment")?.as_bytes(),
    )
}

/// RFC 9420 §8: `ExpandWithLabel`, over the same cryptography that the group runs on.
fn expand_with_label(
    secret: &[u8],
    label: &str,
    context: &[u8],
    len: usize,
) -> Result<Vec<u8>, String> {
    let label = [b"MLS 1.0 ", label.as_bytes()].concat();
    let mut info = u16::try_from(len)
        .map_err(|_| "too long")?
        .to_be_bytes()
        .to_vec();
    for part in [&label[..], context] {
        // The variable-size length of RFC 9420 §2.1.2; vectors need no more than its first two forms.
        match part.len() {
            len @ 0..64 => info.push(len as u8),
            len @ 64..16384 => info.extend((len as u16 | 0x4000).to_be_bytes()),
            _ => return Err("too long".into()),
        }
        info.extend_from_slice(part);
    }
    let suite = suite().map_err(|error| error.to_string())?;
    let out = suite
        .kdf_expand(secret, &info, len)
        .map_err(|error| format!("{error:?}"))?;
    Ok(out.to_vec())
}

fn mls_expand(case: &Value) -> Result<(), String> {
    let (label, len) = (text(case, "label")?, number(case, "length")? as usize);
    let out = expand_with_label(
        &bytes(case, "secret")?,
        label,
        &bytes(case, "context")?,
        len,
    )?;
    same("out", &out, &bytes(case, "out")?)
}

/// RFC 9420 §8.5 from the exporter secret of a key schedule.
fn mls_exporter(case: &Value) -> Result<(), String> {
    let suite = suite().map_err(|error| error.to_string())?;
    let derived = expand_with_label(
        &bytes(case, "exporter_secret")?,
        text(case, "label")?,
        b"",
        32,
    )?;
    let context = suite
        .hash(&bytes(case, "context")?)
        .map_err(|error| format!("{error:?}"))?;
    let out = expand_with_label(
        &derived,
        "exported",
        &context,
        number(case, "length")? as usize,
    )?;
    same("secret", &out, &bytes(case, "secret")?)
}

fn text<'a>(case: &'a Value, name: &str) -> Result<&'a str, String> {
    case.get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("{name} is missing"))
}

/// Numbers above 2^53 are written as hexadecimal text.
fn number(case: &Value, name: &str) -> Result<u64, String> {
    let value = case.get(name).ok_or_else(|| format!("{name} is missing"))?;
    let parsed = match value {
        Value::String(hex) => u64::from_str_radix(hex.trim_start_matches("0x"), 16).ok(),
        other => other.as_u64(),
    };
    parsed.ok_or_else(|| format!("{name} is not a number"))
}

fn bytes(case: &Value, name: &str) -> Result<Vec<u8>, String> {
    let hex = text(case, name)?;
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|c| c.to_digit(16).map(|d| d as u8))
        .collect();
    let digits = digits
        .filter(|digits| digits.len() % 2 == 0)
        .ok_or_else(|| format!("{name} is not hexadecimal"))?;
    Ok(digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect())
}

fn array<const N: usize>(case: &Value, name: &str) -> Result<[u8; N], String> {
    bytes(case, name)?
        .try_into()
        .map_err(|_| format!("{name} is not {N} bytes"))
}

fn same(what: &str, ours: &[u8], wanted: &[u8]) -> Result<(), String> {
    if ours == wanted {
        return Ok(());
    }
    let hex: String = ours.iter().map(|byte| format!("{byte:02x}")).collect();
    Err(format!("{what} is {hex}"))
}
