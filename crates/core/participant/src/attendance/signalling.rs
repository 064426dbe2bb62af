//! The signalling side: what the session decides, and what the keys make of it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use darktower_media::{Kind, publisher, subscriber};
use darktower_meeting::session::{self, Input as Told, KeyEvent, KeySaid, Phase, What};
use darktower_wire::framing;
use darktower_wire::ids::{Epoch, ParticipantId, TrackId};
use darktower_wire::signal::{self, ServerMessage, TrackDescription};
use darktower_wire::{Code, Secret};
use prost::Message;

use super::{Attendance, SIGNAL_STREAM};
use crate::access::hashes;
use crate::keys::{Installed, Reply, Step};
use crate::output::{Event, Link, Output};

impl Attendance {
    pub(super) fn signalled(&mut self, now: Duration, wall: u64, bytes: &[u8]) {
        self.signalling.push(bytes);
        loop {
            match self.signalling.next_message::<ServerMessage>() {
                Ok(Some(message)) => self.tell(now, wall, Told::Message(message)),
                Ok(None) => return,
                Err(_) => {
                    let code = Code::Malformed;
                    self.outputs.push_back(Output::Close {
                        link: Link::Signal,
                        code,
                    });
                    return self.tell(now, wall, Told::Disconnected { code: None });
                }
            }
        }
    }

    /// Says something to the session and does what it decides, in its order.
    pub(super) fn tell(&mut self, now: Duration, wall: u64, told: Told) {
        self.session.handle(now, told);
        self.drain_session(now, wall);
    }

    pub(super) fn drain_session(&mut self, now: Duration, wall: u64) {
        loop {
            while let Some(output) = self.session.poll() {
                self.perform(now, wall, output);
            }
            match self.to_session.pop_front() {
                Some(told) => self.session.handle(now, told),
                None => return,
            }
        }
    }

    pub(super) fn perform(&mut self, now: Duration, wall: u64, output: session::Output) {
        match output {
            session::Output::Connect { beside, resume, to } => {
                let url = self.signal_url(resume, to.as_ref());
                let certificate_sha256 = match &to {
                    Some(controller) => hashes(&controller.certificate_sha256),
                    None => self.access.signal.certificate_sha256.clone(),
                };
                let link = Link::Signal;
                self.outputs.push_back(Output::Connect {
                    link,
                    beside,
                    url,
                    certificate_sha256,
                });
            }
            session::Output::Keep => {
                let link = Link::Signal;
                self.outputs.push_back(Output::Keep { link });
            }
            session::Output::Replace => {
                let link = Link::Signal;
                self.outputs.push_back(Output::Replace { link });
            }
            session::Output::Disconnect { code } => {
                self.outputs.push_back(Output::Close {
                    link: Link::Signal,
                    code,
                });
            }
            session::Output::LookUp => self.outputs.push_back(Output::Event(Event::LookUp)),
            session::Output::Send(mut message) => {
                message.traceparent.clone_from(&self.traceparent);
                self.outputs.push_back(Output::Write {
                    link: Link::Signal,
                    stream: SIGNAL_STREAM,
                    bytes: framing::encode(&message),
                    fin: false,
                });
            }
            session::Output::Changed => self.changed(now),
            session::Output::Published { handle, track } => {
                if let Some(offer) = self.offers.get(&handle) {
                    let published = publisher::Input::Published {
                        handle,
                        track,
                        kind: offer.kind,
                        shape: offer.shape.clone(),
                    };
                    self.publish(now, published);
                }
            }
            session::Output::MediaAssigned(assignment) => {
                self.media.assigned(now, &assignment);
                self.drain_media(now);
            }
            session::Output::Keys(event) => self.key_event(now, wall, event),
            session::Output::Refused { what, code, .. } => {
                if what == What::Join && self.session.state().phase == Phase::Lobby {
                    self.keys.lobby().wait(now);
                }
                let event = Event::Refused {
                    code: code.name(),
                    number: code.number(),
                };
                self.outputs.push_back(Output::Event(event));
            }
        }
    }

    pub(super) fn signal_url(
        &self,
        resume: Option<Secret<Bytes>>,
        to: Option<&signal::Controller>,
    ) -> Secret<String> {
        let door = &self.access.signal;
        let url = to.map_or(&door.url, |controller| &controller.url);
        let mut url = match resume {
            Some(token) => format!("{url}?resume={}", URL_SAFE_NO_PAD.encode(&token[..])),
            None => format!("{url}?token={}", door.token),
        };
        if !self.traceparent.is_empty() {
            url.push_str("&traceparent=");
            url.push_str(&self.traceparent);
        }
        url.into()
    }

    /// The session's picture changed: follow the others' tracks, tell who came
    /// and went.
    pub(super) fn changed(&mut self, now: Duration) {
        let state = self.session.state();
        if state.phase.is_final() {
            self.keys.lobby().leave();
            self.media.leave(Code::Left);
            self.drain_media(now);
        }
        let followed = followed(self.session.state(), self.me);
        let gone: Vec<_> = self
            .followed
            .keys()
            .filter(|id| !followed.contains_key(id))
            .copied()
            .collect();
        for id in gone {
            self.subscribed(now, subscriber::Input::TrackGone(id));
        }
        for (id, track) in &followed {
            if self.followed.get(id) != Some(track) {
                self.subscribed(now, subscriber::Input::Track(*track));
            }
        }
        self.followed = followed;
        let others = decoded_by_others(self.session.state(), self.me);
        self.decodable.follow(now, others);
        self.say_what_comes(now);
        self.tell_who_came_and_went();
        self.outputs.push_back(Output::Changed);
    }

    pub(super) fn tell_who_came_and_went(&mut self) {
        let state = self.session.state();
        if !matches!(state.phase, Phase::Joined | Phase::Reconnecting) {
            return;
        }
        let names: BTreeMap<_, _> = state
            .participants
            .iter()
            .map(|(id, one)| (*id, one.name.clone()))
            .collect();
        if let Some(present) = &self.present {
            for (_, name) in names.iter().filter(|(id, _)| !present.contains_key(id)) {
                self.outputs
                    .push_back(Output::Event(Event::Joined { name: name.clone() }));
            }
            for (_, name) in present.iter().filter(|(id, _)| !names.contains_key(id)) {
                self.outputs
                    .push_back(Output::Event(Event::Left { name: name.clone() }));
            }
        }
        self.present = Some(names);
    }

    pub(super) fn key_event(&mut self, now: Duration, wall: u64, event: KeyEvent) {
        let inside = matches!(
            self.session.state().phase,
            Phase::Joined | Phase::Reconnecting
        );
        let step = match event {
            KeyEvent::Found | KeyEvent::State(_) if !inside => {
                let state = match event {
                    KeyEvent::State(state) => Some(state),
                    _ => None,
                };
                return self.keys.lobby().told(now, state);
            }
            KeyEvent::Found => self.keys.refused(wall, None, true),
            KeyEvent::State(state) => self.keys.refused(wall, Some(&state), true),
            KeyEvent::Committed { epoch, commit, .. } => {
                self.keys.committed(now, wall, Epoch(epoch), &commit)
            }
            KeyEvent::OwnAccepted { epoch } => self.keys.accepted(now, Epoch(epoch)),
            KeyEvent::Refused {
                code,
                state,
                resync,
            } => {
                if code == Code::CommitRefused {
                    self.keys.count_refusal();
                }
                self.keys.refused(wall, state.as_ref(), resync)
            }
            KeyEvent::RemoveWanted(participants) => self.keys.remove(wall, &participants),
            KeyEvent::GroupInfoWanted => self.keys.group_info(),
        };
        // Whatever went wrong with the group, the way back is to join it anew.
        let step = step.unwrap_or_else(|_| {
            self.keys.count_refusal();
            Step::resync()
        });
        if self.keys.is_locked_out() {
            return self.lock_out(now);
        }
        for reply in step.replies {
            self.to_session.push_back(Told::Key(said(reply)));
        }
        if let Some(Installed { epoch, newcomers }) = step.installed {
            if newcomers {
                self.publish(now, publisher::Input::MembersAdded);
            }
            self.subscribed(now, subscriber::Input::EpochInstalled);
            self.outputs
                .push_back(Output::Event(Event::Epoch { epoch: epoch.0 }));
            self.outputs.push_back(Output::Changed);
        }
    }

    /// The group does not let this end in: without keys there is nothing to see.
    pub(super) fn lock_out(&mut self, now: Duration) {
        self.failure = Some(match self.access.meeting.key_in_link {
            true => Code::LinkSecretNeeded,
            false => Code::CommitRefused,
        });
        self.to_session.push_back(Told::Leave);
        self.media.leave(Code::Left);
        self.drain_media(now);
    }
}

pub(super) fn said(reply: Reply) -> KeySaid {
    match reply {
        Reply::Commit(commit) => KeySaid::Commit(commit),
        Reply::Answer { epoch, accepted } => KeySaid::Answer {
            epoch: epoch.0,
            accepted,
        },
        Reply::GroupInfo { epoch, group_info } => KeySaid::GroupInfo {
            epoch: epoch.0,
            group_info,
        },
        Reply::Resync => KeySaid::Resync,
    }
}

/// What each of the others says it decodes: about itself, or with a track where its end is of a former release.
pub(super) fn decoded_by_others(
    state: &session::State,
    me: ParticipantId,
) -> impl Iterator<Item = (ParticipantId, Vec<String>)> {
    let others = state.participants.iter().filter(move |(id, _)| **id != me);
    others.map(|(id, one)| {
        let with_track = || {
            let descriptions = one.tracks.values();
            let mut decodes = descriptions
                .filter_map(|track| TrackDescription::decode(&track.description[..]).ok())
                .map(|description| description.decodes);
            decodes.find(|decodes| !decodes.is_empty())
        };
        let decodes = match one.decodes.is_empty() {
            true => with_track().unwrap_or_default(),
            false => one.decodes.clone(),
        };
        (*id, decodes)
    })
}

/// The others' tracks that are to be opened and decoded.
pub(super) fn followed(
    state: &session::State,
    me: ParticipantId,
) -> BTreeMap<TrackId, subscriber::Track> {
    let others = state.participants.iter().filter(|(id, _)| **id != me);
    let tracks = others.flat_map(|(owner, one)| one.tracks.iter().map(move |it| (*owner, it)));
    let wanted = tracks.filter(|(_, (id, _))| !state.unwanted.contains(id));
    wanted
        .filter_map(|(owner, (id, track))| {
            let description = TrackDescription::decode(&track.description[..]).ok()?;
            let kind = match description.kind() {
                signal::Kind::Audio => Kind::Audio,
                signal::Kind::Video => Kind::Video,
                signal::Kind::Unspecified => return None,
            };
            Some((
                *id,
                subscriber::Track {
                    id: *id,
                    owner,
                    kind,
                    muted: track.muted,
                },
            ))
        })
        .collect()
}
