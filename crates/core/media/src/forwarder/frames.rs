//! The way of a frame: one plain call.
//!
//! What a frame costs grows with the sessions that get its track, and with nothing
//! else of the meeting: a track that nobody shows, or an audio track that is not among
//! the loudest, costs a look at its header.

use core::time::Duration;

use darktower_wire::Code;
use darktower_wire::media::Header;

use super::layer::Taken;
use super::repeats::Number;
use super::{Delivery, Forwarder, MAX_MISSED, Payload, SessionId};
use crate::Kind;

impl<P: Payload> Forwarder<P> {
    /// Forwards one frame that came from `session` by stream (video) or by datagram
    /// (audio): appends a delivery for each session that gets it. A refused frame
    /// goes nowhere and harms nobody. Audio that came before is passed over.
    pub fn on_frame(
        &mut self,
        now: Duration,
        session: SessionId,
        kind: Kind,
        header: &Header,
        payload: &P,
        out: &mut Vec<Delivery<P>>,
    ) -> Result<(), Code> {
        let track = self.tracks.get(&header.track);
        if track.is_none_or(|track| track.from != Some(session)) {
            return Err(self.refuse(session, header));
        }
        if track.is_some_and(|track| track.kind != kind) {
            return Err(Code::BadFrameHeader);
        }
        match kind {
            Kind::Audio => self.on_audio(now, header, payload, out)?,
            Kind::Video => self.on_video(now, header, payload, out)?,
        }
        if !self.flows {
            self.flows = true;
            self.arm(now);
        }
        Ok(())
    }

    /// Why a frame may not come from there.
    fn refuse(&mut self, session: SessionId, header: &Header) -> Code {
        let Some(from) = self.sessions.get(&session) else {
            return Code::NotJoined;
        };
        let code = match self.tracks.get(&header.track) {
            None => Code::TrackUnknown,
            Some(track) if track.seat != from.seat => return Code::NotYourTrack,
            Some(_) => Code::NotJoined,
        };
        if self.missed.len() < MAX_MISSED {
            self.missed.insert((session, header.track));
        }
        code
    }

    fn on_audio(
        &mut self,
        now: Duration,
        header: &Header,
        payload: &P,
        out: &mut Vec<Delivery<P>>,
    ) -> Result<(), Code> {
        let track = self.tracks.get_mut(&header.track);
        let track = track.ok_or(Code::TrackUnknown)?;
        if header.layer != 0 {
            return Err(Code::BadFrameHeader);
        }
        let is_heard = match track.repeats.take(header.group, header.frame)? {
            Number::Repeated => return Ok(()),
            Number::Newest => self.speakers.heard(now, header.track, header.level),
            Number::Missing => self.speakers.holds(header.track),
        };
        if !is_heard {
            return Ok(());
        }
        if let Some(layer) = track.layers.first_mut() {
            layer.rates.add_sound(now, payload.size());
        }
        for target in &track.targets {
            out.push(Delivery {
                session: target.session,
                kind: Kind::Audio,
                header: *header,
                payload: payload.clone(),
            });
        }
        Ok(())
    }

    fn on_video(
        &mut self,
        now: Duration,
        header: &Header,
        payload: &P,
        out: &mut Vec<Delivery<P>>,
    ) -> Result<(), Code> {
        let track = self.tracks.get_mut(&header.track);
        let track = track.ok_or(Code::TrackUnknown)?;
        let layer = track.layers.get_mut(usize::from(header.layer));
        let layer = layer.ok_or(Code::BadFrameHeader)?;
        let before = layer.cached();
        let room = self.config.cache_per_layer;
        let room = room.min((self.config.cache_total + before) - self.cached);
        let taken = layer.take(now, header, payload, room);
        self.cached = self.cached + layer.cached() - before;
        let begins = match taken {
            Taken::Begins => true,
            Taken::Continues => false,
            Taken::Refused(code) => return Err(code),
        };
        track.last = now;
        for target in &mut track.targets {
            if target.takes(header, begins) {
                if begins {
                    layer.give(target.session);
                }
                out.push(Delivery {
                    session: target.session,
                    kind: Kind::Video,
                    header: *header,
                    payload: payload.clone(),
                });
            }
        }
        if begins {
            // Whoever has switched needs the layer before no more.
            self.touched.insert(header.track);
            self.arm(now);
        }
        Ok(())
    }
}
