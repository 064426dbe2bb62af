//! What is heard: the rules and the signal processing of sound, without its devices.
//!
//! On the sending side [`voice::Detector`] says how loud a packet is and whether a
//! voice is in it, and [`gate::Gate`] whether it is worth sending. On the receiving
//! side [`playout::Playout`] decides when each packet of a track is played,
//! [`player::Player`] makes samples of those decisions (stretched without a change of
//! pitch, with gaps concealed), and [`mixer::Mixer`] adds the tracks up.
//!
//! It must not do IO, read a clock or know a codec: encoded sound is somebody else's,
//! and time is a [`core::time::Duration`] since an origin that the shell chooses. The
//! same input makes the same samples in every build: nothing here calls a function
//! whose last bit depends on the platform on the way to an output sample.
//!
//! Start with [`playout::Playout::push`] and [`playout::Playout::pull`]; who has
//! samples in hand starts with [`mixer::Mixer`]. Normative text: `docs/protocol/media.md`.

mod gap;
pub mod gate;
pub mod level;
pub mod mixer;
mod noise;
mod pitch;
pub mod player;
pub mod playout;
pub mod stretch;
#[cfg(feature = "vectors")]
pub mod vectors;
pub mod voice;

/// Samples a second, of everything here.
pub const RATE: u32 = 48_000;

/// What both ears get at one moment, in [−1, 1].
pub type Sample = [f32; 2];

/// So many samples as a time.
pub(crate) fn time_of(samples: usize) -> core::time::Duration {
    core::time::Duration::from_nanos(samples as u64 * 1_000_000_000 / u64::from(RATE))
}

/// So much time as samples, to the nearest.
pub(crate) fn samples_in(time: core::time::Duration) -> usize {
    let nanos = time.as_nanos() * u128::from(RATE) + 500_000_000;
    (nanos / 1_000_000_000) as usize
}

/// `ms` milliseconds as samples.
pub(crate) const fn ms(ms: usize) -> usize {
    ms * RATE as usize / 1000
}
