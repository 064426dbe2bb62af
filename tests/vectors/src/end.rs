//! One participant's keys behind lines of text, so that two builds of the same code can be set against one another.

use std::time::Duration;

use bytes::Bytes;
use darktower_e2ee::{Commit, EpochKeys, Group, Identity, Keyring, LinkSecret, Sealer};
use darktower_wire::ids::{MeetingId, ParticipantId, TrackId};
use darktower_wire::media::{Frame, Header};

/// 2026-11, in unix milliseconds: ends in a test agree on the time.
const WALL: u64 = 1_795_000_000_000;

/// A participant that answers lines: `ok` with values, or `error` with a reason.
///
/// | line | answer |
/// |---|---|
/// | `found PARTICIPANT MEETING LINK` | `ok GROUP_INFO` |
/// | `join PARTICIPANT GROUP_INFO LINK` | `ok COMMIT GROUP_INFO` |
/// | `remove PARTICIPANT` | `ok COMMIT GROUP_INFO`, to be processed by its maker too |
/// | `process COMMIT` | `ok EPOCH MEMBERS` |
/// | `code` | `ok` and the verification code |
/// | `seal TRACK GROUP NUMBER PLAINTEXT` | `ok FRAME`, header and sealed payload as they travel |
/// | `open OWNER FRAME` | `ok TRACK GROUP NUMBER PLAINTEXT` |
///
/// Ids and bytes are hexadecimal, numbers decimal; `LINK` is a link's fragment, `-` where there is none; empty bytes
/// are `-` as well.
#[derive(Debug, Default)]
pub struct End {
    group: Option<Group>,
    sealer: Option<Sealer>,
    keyring: Keyring,
}

impl End {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers one line.
    pub fn answer(&mut self, line: &str) -> String {
        match self.act(line) {
            Ok(values) => format!("ok {values}"),
            Err(reason) => format!("error {reason}"),
        }
    }

    fn act(&mut self, line: &str) -> Result<String, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["found", participant, meeting, link] => {
                let (identity, link) = (identity(participant)?, link_of(link)?);
                let meeting: MeetingId = meeting.parse().map_err(text)?;
                let group = Group::found(identity, meeting, link.as_ref(), WALL).map_err(text)?;
                let info = group.group_info().map_err(text)?;
                self.take(group)?;
                Ok(hex(&info))
            }
            ["join", participant, info, link] => {
                let (identity, link) = (identity(participant)?, link_of(link)?);
                let (group, commit) =
                    Group::join(identity, &bytes(info)?, link.as_ref(), WALL).map_err(text)?;
                self.take(group)?;
                Ok(said(&commit))
            }
            ["remove", participant] => {
                let participant: ParticipantId = participant.parse().map_err(text)?;
                let commit = self.group()?.remove(&[participant], WALL).map_err(text)?;
                Ok(said(&commit))
            }
            ["process", commit] => {
                let group = self.group()?;
                let change = group.process(&bytes(commit)?, WALL).map_err(text)?;
                let members = group.members().len();
                let keys = group.keys().map_err(text)?;
                self.install(keys);
                Ok(format!("{} {members}", change.epoch.0))
            }
            ["code"] => Ok(self.group()?.verification_code().map_err(text)?.to_string()),
            ["seal", track, group, number, plaintext] => {
                let header = Header {
                    track: TrackId(track.parse().map_err(text)?),
                    group: group.parse().map_err(text)?,
                    frame: number.parse().map_err(text)?,
                    ..Header::default()
                };
                let mut frame = Vec::new();
                header.encode(&mut frame);
                let header = frame.clone();
                let sealer = self.sealer.as_mut().ok_or("nobody is here")?;
                sealer
                    .seal(&header, &bytes(plaintext)?, &mut frame)
                    .map_err(text)?;
                Ok(hex(&frame))
            }
            ["open", owner, frame] => {
                let owner: ParticipantId = owner.parse().map_err(text)?;
                let frame = Frame::parse(Bytes::from(bytes(frame)?)).map_err(text)?;
                let mut plaintext = Vec::new();
                self.keyring
                    .open(owner, frame.header_bytes(), frame.payload(), &mut plaintext)
                    .map_err(text)?;
                let Header {
                    track,
                    group,
                    frame,
                    ..
                } = frame.header;
                Ok(format!("{track} {group} {frame} {}", hex(&plaintext)))
            }
            _ => Err("not a line that is known here".into()),
        }
    }

    fn group(&mut self) -> Result<&mut Group, String> {
        self.group.as_mut().ok_or_else(|| "nobody is here".into())
    }

    fn take(&mut self, mut group: Group) -> Result<(), String> {
        let keys = group.keys().map_err(text)?;
        self.group = Some(group);
        self.sealer = None;
        self.keyring = Keyring::new();
        self.install(keys);
        Ok(())
    }

    fn install(&mut self, keys: EpochKeys) {
        self.keyring.install(Duration::ZERO, keys.opening);
        match &mut self.sealer {
            Some(sealer) => sealer.switch(keys.sealing),
            None => self.sealer = Some(Sealer::new(keys.sealing)),
        }
    }
}

fn identity(participant: &str) -> Result<Identity, String> {
    Identity::new(participant.parse().map_err(text)?).map_err(text)
}

fn link_of(fragment: &str) -> Result<Option<LinkSecret>, String> {
    match fragment {
        "-" => Ok(None),
        fragment => LinkSecret::from_fragment(fragment).map(Some).map_err(text),
    }
}

fn said(commit: &Commit) -> String {
    format!("{} {}", hex(&commit.message), hex(&commit.group_info))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn hex(bytes: &[u8]) -> String {
    match bytes {
        [] => "-".into(),
        bytes => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    if hex == "-" {
        return Ok(Vec::new());
    }
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|digit| digit.to_digit(16).map(|value| value as u8))
        .collect();
    let digits = digits
        .filter(|digits| digits.len() % 2 == 0)
        .ok_or("not hexadecimal")?;
    Ok(digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect())
}
