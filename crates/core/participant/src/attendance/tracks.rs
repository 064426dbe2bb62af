//! The media side: own frames out, others' frames in, and the link they travel on.

use std::time::Duration;

use darktower_media::arrivals::Feedback;
use darktower_media::{Bitrate, Kind, LayerShape, Shape, publisher, subscriber};
use darktower_wire::ids::TrackId;
use darktower_wire::media_control::{self, Demand};

use super::Attendance;
use crate::command::{LayerOffer, TrackOffer, TrackSource, View};
use crate::media_link::{CONTROL_STREAM, Effect};
use crate::output::{Link, Output, StreamId};
use crate::seals::OpenWith;

impl Attendance {
    pub(super) fn publish(&mut self, now: Duration, input: publisher::Input) {
        self.publisher.handle(now, input);
        self.drain_publisher();
    }

    pub(super) fn drain_publisher(&mut self) {
        let link = Link::Media;
        while let Some(output) = self.publisher.poll() {
            let output = match output {
                publisher::Output::OpenStream { stream, priority } => Output::OpenUni {
                    link,
                    stream: stream_of(stream),
                    priority,
                },
                publisher::Output::Write { stream, bytes, fin } => Output::Write {
                    link,
                    stream: stream_of(stream),
                    bytes,
                    fin,
                },
                publisher::Output::Reset { stream, code } => Output::Reset {
                    link,
                    stream: stream_of(stream),
                    code,
                },
                publisher::Output::Datagram(bytes) => Output::Datagram(bytes),
                publisher::Output::Encode {
                    handle,
                    layer,
                    target,
                } => Output::Encode {
                    handle,
                    layer,
                    target_bps: target.map_or(0, |it| u32::try_from(it.bps()).unwrap_or(u32::MAX)),
                },
                publisher::Output::KeyFrame { handle, layer } => Output::KeyFrame { handle, layer },
            };
            self.outputs.push_back(output);
        }
    }

    pub(super) fn subscribed(&mut self, now: Duration, input: subscriber::Input) {
        self.subscriber
            .handle(now, input, &mut OpenWith(self.keys.keyring()));
        while let Some(output) = self.subscriber.poll() {
            let output = match output {
                subscriber::Output::Frame(opened) => self.decode(opened),
                subscriber::Output::KeyFrameWanted { track, layer } => {
                    self.media.want_key_frame(track.0, layer);
                    continue;
                }
                subscriber::Output::Stop { stream, code } => Output::Stop {
                    link: Link::Media,
                    stream,
                    code,
                },
            };
            self.outputs.push_back(output);
        }
    }

    pub(super) fn decode(&self, opened: subscriber::Opened) -> Output {
        let subscriber::Opened {
            header,
            data: chunk,
            behind,
        } = opened;
        let (track, capture_us) = (header.track, header.capture_us);
        let video = self
            .followed
            .get(&track)
            .is_some_and(|known| known.kind == Kind::Video);
        match video {
            true => Output::Video {
                track,
                layer: header.layer,
                key: header.key,
                behind,
                capture_us,
                chunk,
            },
            false => Output::Audio {
                track,
                number: header.frame,
                capture_us,
                level: header.level,
                chunk,
            },
        }
    }

    /// Performs what the media link wants.
    pub(super) fn drain_media(&mut self, now: Duration) {
        let link = Link::Media;
        while let Some(effect) = self.media.effect() {
            match effect {
                Effect::Connect {
                    beside,
                    url,
                    certificate_sha256,
                } => {
                    if !beside {
                        self.media_gone(now);
                    }
                    self.outputs.push_back(Output::Connect {
                        link,
                        beside,
                        url,
                        certificate_sha256,
                    });
                }
                Effect::Keep => self.outputs.push_back(Output::Keep { link }),
                Effect::Replace => {
                    self.outputs.push_back(Output::Replace { link });
                    self.media_gone(now);
                }
                Effect::Close(code) => {
                    self.outputs.push_back(Output::Close { link, code });
                    self.media_gone(now);
                }
                Effect::OpenControl(bytes) => {
                    let stream = CONTROL_STREAM;
                    self.outputs.push_back(Output::OpenBi { link, stream });
                    self.outputs.push_back(Output::Write {
                        link,
                        stream,
                        bytes,
                        fin: false,
                    });
                }
                Effect::WriteControl(bytes) => {
                    let stream = CONTROL_STREAM;
                    self.outputs.push_back(Output::Write {
                        link,
                        stream,
                        bytes,
                        fin: false,
                    });
                }
                Effect::KeyFrameWanted { track, layer } => {
                    let track = TrackId(track);
                    self.publish(now, publisher::Input::KeyFrameWanted { track, layer });
                }
                Effect::LayersWanted { track, layers } => {
                    let track = TrackId(track);
                    self.publish(now, publisher::Input::LayersWanted { track, layers });
                }
                Effect::Feedback(feedback) => {
                    self.reception.fed_back(&feedback);
                    self.publish(now, publisher::Input::Feedback(feedback_of(feedback)));
                    if self.reception.is_news(now, self.publisher.estimate()) {
                        self.outputs.push_back(Output::Changed);
                    }
                }
                Effect::Allocation(allocation) => {
                    self.reception.allocated(allocation);
                    self.say_what_comes(now);
                    self.outputs.push_back(Output::Changed);
                }
                Effect::Speakers(tracks) => {
                    self.reception.speakers = tracks;
                    self.outputs.push_back(Output::Changed);
                }
            }
        }
    }
}

/// What is shown, as the handler is told.
pub(super) fn demand_of(views: &[View]) -> Demand {
    let views = views.iter().map(|view| media_control::View {
        track: view.track,
        width_px: view.width,
        height_px: view.height,
        pinned: view.pinned,
    });
    Demand {
        views: views.collect(),
    }
}

/// How own frames arrived, as the publisher is told.
fn feedback_of(said: media_control::Feedback) -> Feedback {
    Feedback {
        interval: Duration::from_millis(said.interval_ms.into()),
        bytes: said.bytes,
        transit_us: said.transit_us,
        audio: said.audio,
        audio_lost: said.audio_lost,
        datagrams: said.datagrams,
        datagrams_lost: said.datagrams_lost,
    }
}

/// The form of an offered track.
pub(super) fn shape_of(offer: &TrackOffer) -> Shape {
    let layers = offer.announced_layers().into_iter();
    Shape {
        screen: offer.source == TrackSource::Screen,
        layers: layers.map(layer_shape).collect(),
    }
}

fn layer_shape(layer: LayerOffer) -> LayerShape {
    LayerShape {
        width_px: layer.width,
        height_px: layer.height,
        max_bitrate: Bitrate::from_bps(layer.bitrate.into()),
        temporal_layers: u8::try_from(layer.temporal_layers.max(1)).unwrap_or(u8::MAX),
    }
}

/// Where the publisher's streams stand among the link's: even, after the
/// control stream.
pub(super) fn stream_of(published: u64) -> StreamId {
    2 + 2 * published
}

pub(super) fn published_stream(stream: StreamId) -> Option<u64> {
    (stream >= 2 && stream.is_multiple_of(2)).then(|| stream / 2 - 1)
}
