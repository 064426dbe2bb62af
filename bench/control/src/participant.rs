//! One participant that signals and does nothing else: lookup, session, join with two tracks and a key commit, pings and
//! mutes, answers to the others' commits.

use std::time::Duration;

use anyhow::Context as _;
use darktower_net::{RecvStream, SendStream, Session, Url};
use darktower_participant::Access;
use darktower_wire::framing::{self, Decoder, MAX_SIGNAL};
use darktower_wire::signal::{
    self, ClientMessage, KeyState, ServerMessage, client_message, server_message::Body,
};
use prost::Message as _;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::crowd::Crowd;
use crate::keys::{self, Group};

/// As a real participant on a healthy connection.
const PING_EVERY: Duration = Duration::from_millis(500);
/// Each mutes or unmutes its microphone this often.
const MUTE_EVERY: Duration = Duration::from_secs(20);
/// A join that takes longer has failed.
const JOIN_WITHIN: Duration = Duration::from_secs(10);

/// When what of a join was there, since it was due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joined {
    /// The API answered.
    pub(crate) looked_up: Duration,
    /// The session was open.
    pub(crate) connected: Duration,
    /// It had its seat and its commit was taken.
    pub(crate) done: Duration,
    /// Commits that lost their epoch before one was taken.
    pub(crate) again: u32,
}

/// A participant that is in its meeting.
pub(crate) struct Participant {
    session: Session,
    send: SendStream,
    recv: RecvStream,
    decoder: Decoder,
    request: u64,
    group: Option<Group>,
    pending: Option<Group>,
    microphone: Option<u32>,
    muted: bool,
}

impl Participant {
    /// Joins the meeting with this code; `due` is when it should have begun to.
    pub(crate) async fn join(
        crowd: &Crowd,
        number: usize,
        code: &str,
        due: Instant,
    ) -> anyhow::Result<(Self, Joined)> {
        let joined = timeout(JOIN_WITHIN, Self::enter(crowd, number, code, due));
        joined.await.context("not in time")?
    }

    async fn enter(
        crowd: &Crowd,
        number: usize,
        code: &str,
        due: Instant,
    ) -> anyhow::Result<(Self, Joined)> {
        let access = crowd.api(number).lookup(code, None).await?;
        let looked_up = due.elapsed();
        let url = format!("{}?token={}", access.signal.url, access.signal.token);
        let url = Url::parse(&url)?;
        let session = crowd.client(number).connect(&url, &[]).await?;
        let connected = due.elapsed();
        let (send, recv) = session
            .open_bi()
            .await
            .map_err(|it| anyhow::anyhow!("{it}"))?;
        let mut this = Self {
            session,
            send,
            recv,
            decoder: Decoder::new(MAX_SIGNAL),
            request: 0,
            group: None,
            pending: None,
            microphone: None,
            muted: false,
        };
        let key = this.commit(&access, &state_of(&access))?;
        let join = signal::Join {
            name: format!("Participant {number}"),
            publish: vec![microphone(), camera()],
            key: Some(key),
            decodes: Vec::new(),
        };
        this.say(crowd, client_message::Body::Join(join)).await?;
        let mut again = 0;
        while this.group.is_none() {
            let message = this.hear(crowd).await?;
            match message.body.context("a message without body")? {
                Body::Joined(joined) => {
                    let own = joined
                        .participants
                        .iter()
                        .find(|it| it.id == joined.participant_id);
                    this.microphone = own.and_then(|it| it.tracks.first()).map(|it| it.id);
                    let outcome = joined.key.context("a join without an outcome")?;
                    match outcome.accepted {
                        true => this.group = this.pending.take(),
                        false => {
                            again += 1;
                            let state = outcome.state.unwrap_or_default();
                            this.commit_anew(crowd, &access, &state).await?;
                        }
                    }
                }
                // The answer to a commit that was made anew.
                Body::Done(_) if this.pending.is_some() => this.group = this.pending.take(),
                Body::KeyRefused(refused) => {
                    again += 1;
                    let state = refused.state.unwrap_or_default();
                    this.commit_anew(crowd, &access, &state).await?;
                }
                Body::Refused(refused) => anyhow::bail!("refused: {}", refused.detail),
                _ => {}
            }
        }
        let joined = Joined {
            looked_up,
            connected,
            done: due.elapsed(),
            again,
        };
        Ok((this, joined))
    }

    fn commit(&mut self, access: &Access, state: &KeyState) -> anyhow::Result<signal::KeyCommit> {
        let (group, commit) = match state.founded {
            true => keys::join(state).context("a group of somebody else")?,
            false => keys::found(access.meeting.id.0, access.participant_id.0),
        };
        self.pending = Some(group);
        Ok(commit)
    }

    async fn commit_anew(
        &mut self,
        crowd: &Crowd,
        access: &Access,
        state: &KeyState,
    ) -> anyhow::Result<()> {
        let commit = self.commit(access, state)?;
        self.say(crowd, client_message::Body::KeyCommit(commit))
            .await
    }

    /// Stays until the session ends, which is counted, or the load does.
    pub(crate) async fn stay(mut self, crowd: &Crowd) {
        let result = tokio::select! {
            result = self.talk(crowd) => result,
            () = crowd.over() => return self.session.close(0, "over"),
        };
        if let Err(error) = result {
            crowd.lost(&error);
        }
    }

    async fn talk(&mut self, crowd: &Crowd) -> anyhow::Result<()> {
        let now = Instant::now();
        let every = |period| {
            let mut ticks = interval_at(now + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut ping, mut mute) = (every(PING_EVERY), every(MUTE_EVERY));
        loop {
            while let Some(message) = self.decoder.next_message::<ServerMessage>()? {
                crowd.heard();
                self.take(crowd, message).await?;
            }
            tokio::select! {
                chunk = self.recv.read_chunk() => match chunk? {
                    Some(chunk) => self.decoder.push(&chunk),
                    None => anyhow::bail!("the stream has ended"),
                },
                _ = ping.tick() => {
                    let sent_us = crowd.now_us();
                    self.say(crowd, client_message::Body::Ping(signal::Ping { sent_us })).await?;
                }
                _ = mute.tick() => {
                    let Some(track) = self.microphone else { continue };
                    self.muted = !self.muted;
                    let muted = signal::SetMuted { track, muted: self.muted };
                    self.say(crowd, client_message::Body::SetMuted(muted)).await?;
                }
            }
        }
    }

    async fn take(&mut self, crowd: &Crowd, message: ServerMessage) -> anyhow::Result<()> {
        match message.body {
            Some(Body::Pong(pong)) => crowd.pong(pong.sent_us),
            Some(Body::KeyCommitted(committed)) => {
                if let Some(group) = &mut self.group {
                    group.follow(committed.epoch);
                }
                let answer = signal::KeyAnswer {
                    epoch: committed.epoch,
                    accepted: true,
                };
                self.say(crowd, client_message::Body::KeyAnswer(answer))
                    .await?;
            }
            Some(Body::KeyWanted(wanted)) if wanted.group_info => {
                let Some(group) = &self.group else {
                    return Ok(());
                };
                let info = signal::KeyGroupInfo {
                    epoch: group.epoch,
                    group_info: group.info(),
                };
                self.say(crowd, client_message::Body::KeyGroupInfo(info))
                    .await?;
            }
            Some(Body::Refused(refused)) => anyhow::bail!("refused: {}", refused.detail),
            _ => {}
        }
        Ok(())
    }

    async fn say(&mut self, crowd: &Crowd, body: client_message::Body) -> anyhow::Result<()> {
        self.request += 1;
        let message = ClientMessage {
            request: self.request,
            body: Some(body),
            ..ClientMessage::default()
        };
        self.send.write(framing::encode(&message)).await?;
        crowd.said();
        Ok(())
    }

    async fn hear(&mut self, crowd: &Crowd) -> anyhow::Result<ServerMessage> {
        loop {
            if let Some(message) = self.decoder.next_message()? {
                crowd.heard();
                return Ok(message);
            }
            match self.recv.read_chunk().await {
                Ok(Some(chunk)) => self.decoder.push(&chunk),
                Ok(None) => anyhow::bail!("the stream has ended"),
                Err(error) => {
                    let reason = self.session.closed().await;
                    anyhow::bail!("{error}: {reason}")
                }
            }
        }
    }
}

fn state_of(access: &Access) -> KeyState {
    KeyState {
        founded: access.key.founded,
        epoch: access.key.epoch,
        group_info: access.key.group_info.clone().into(),
    }
}

fn microphone() -> signal::Publish {
    track(&signal::TrackDescription {
        kind: signal::Kind::Audio.into(),
        source: signal::Source::Microphone.into(),
        codec: "opus".to_owned(),
        sample_rate_hz: 48_000,
        channels: 1,
        ..Default::default()
    })
}

fn camera() -> signal::Publish {
    let layers = [(320, 180), (640, 360), (1280, 720)];
    let layers = layers.iter().zip(0..);
    track(&signal::TrackDescription {
        kind: signal::Kind::Video.into(),
        source: signal::Source::Camera.into(),
        codec: "vp8".to_owned(),
        layers: layers
            .map(|((width_px, height_px), id)| signal::Layer {
                id,
                width_px: *width_px,
                height_px: *height_px,
                max_bitrate_bps: width_px * height_px * 2,
                temporal_layers: 2,
            })
            .collect(),
        ..Default::default()
    })
}

fn track(description: &signal::TrackDescription) -> signal::Publish {
    signal::Publish {
        description: description.encode_to_vec().into(),
        muted: false,
        handle: u32::from(description.kind() == signal::Kind::Video),
    }
}
