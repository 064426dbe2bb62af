//! What a subscriber shows: tracks, and how large.

use darktower_wire::ids::TrackId;

/// Views of one demand that count. More than any screen shows.
pub const MAX_VIEWS: usize = 256;

/// The longest side of a tile that is believed, in pixels: an 8K screen and as much
/// again. More says nothing more.
const MAX_SIDE: u32 = 16_384;

/// One track on a subscriber's screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The track.
    pub track: TrackId,
    /// The tile's width in device pixels; 0: not on the screen yet.
    pub width_px: u32,
    /// The tile's height in device pixels.
    pub height_px: u32,
    /// The person pinned it.
    pub pinned: bool,
}

/// Tile that a track counts as shown in until its subscriber says otherwise.
pub(crate) const UNSAID: (u32, u32) = (640, 360);

/// All views of one subscriber, by track.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// `None` until something was said.
    views: Option<Vec<View>>,
}

impl Demand {
    /// Takes what was said in place of what was said before; of two views of one
    /// track the first counts. False where some went beyond the bounds.
    pub(crate) fn say(&mut self, mut views: Vec<View>) -> bool {
        let mut fits = views.len() <= MAX_VIEWS;
        views.truncate(MAX_VIEWS);
        for view in &mut views {
            for side in [&mut view.width_px, &mut view.height_px] {
                fits &= *side <= MAX_SIDE;
                *side = (*side).min(MAX_SIDE);
            }
        }
        // Stable, so the first of a track stays the first.
        views.sort_by_key(|view| view.track);
        views.dedup_by_key(|view| view.track);
        views.shrink_to_fit();
        self.views = Some(views);
        fits
    }

    /// How a track is shown; `None` where it is hidden.
    pub(crate) fn of(&self, track: TrackId) -> Option<View> {
        let Some(views) = &self.views else {
            let (width_px, height_px) = UNSAID;
            return Some(View {
                track,
                width_px,
                height_px,
                pinned: false,
            });
        };
        let at = views.binary_search_by_key(&track, |view| view.track);
        at.ok().map(|at| views[at])
    }

    /// The tracks that were said, in order.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = TrackId> + '_ {
        self.views.iter().flatten().map(|view| view.track)
    }
}
