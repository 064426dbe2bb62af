//! Measurements over stretches of time, and what is remembered of them.

/// Microseconds since the shell's origin.
pub(crate) type Micros = u64;

/// What was learnt in one stretch, from one acknowledgement (or report) to another.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stretch {
    /// Bytes that arrived.
    pub(crate) bytes: u64,
    /// Bytes found to be lost.
    pub(crate) lost: u64,
    /// Bytes that were given to the path, lost ones included, as far as is known.
    pub(crate) offered: u64,
    /// From the first arrival to the last.
    pub(crate) arrival_us: u64,
    /// What those bytes took to be sent.
    pub(crate) send_us: u64,
    /// The smallest delay: of a round trip, or of one way between two clocks.
    pub(crate) delay_us: u64,
    /// The sender could have sent no more.
    pub(crate) full: bool,
    /// Acknowledgements, and those of them that brought a mark of congestion.
    pub(crate) acks: u32,
    pub(crate) marked: u32,
}

const KEPT: usize = 12;

/// The newest stretches.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    kept: [Stretch; KEPT],
    count: usize,
}

impl History {
    pub(crate) fn push(&mut self, stretch: Stretch) {
        self.kept.rotate_right(1);
        self.kept[0] = stretch;
        self.count = (self.count + 1).min(KEPT);
    }

    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    /// The fastest that anything arrived.
    pub(crate) fn fastest_bps(&self) -> u64 {
        let kept = self.kept.iter().take(self.count);
        kept.map(Stretch::arrival_bps).max().unwrap_or(0)
    }

    /// The newest `most` of them as one, no further back than `span_us`.
    pub(crate) fn together(&self, most: usize, span_us: u64) -> Stretch {
        let mut sum = Stretch::default();
        for one in self.kept.iter().take(self.count.min(most)) {
            sum.bytes += one.bytes;
            sum.lost += one.lost;
            sum.offered += one.offered;
            sum.arrival_us += one.arrival_us;
            sum.send_us += one.send_us;
            if sum.arrival_us >= span_us {
                break;
            }
        }
        sum
    }
}

impl Stretch {
    /// Bits a second at which it arrived.
    pub(crate) fn arrival_bps(&self) -> u64 {
        bps(self.bytes, self.arrival_us)
    }

    /// Bits a second that were both sent and received: what was sent slowly says nothing
    /// of the path, and what piled up on the way and came at once says too much.
    pub(crate) fn delivered_bps(&self) -> u64 {
        bps(self.bytes, self.arrival_us.max(self.send_us))
    }

    /// Bits a second that were sent so as to arrive, on a path that loses so many
    /// thousandths anyway: the faster of what arrived and of what was offered.
    pub(crate) fn sent_bps(&self, inherent_loss: u64) -> u64 {
        let offered = self.offered / 1000 * (1000 - inherent_loss.min(1000));
        bps(self.bytes, self.send_us).max(bps(offered, self.arrival_us))
    }
}

pub(crate) fn bps(bytes: u64, us: u64) -> u64 {
    let bps = u128::from(bytes) * 8_000_000 / u128::from(us.max(1));
    u64::try_from(bps).unwrap_or(u64::MAX)
}

/// The smallest of what was seen in the last one to two windows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lowest {
    window_us: u64,
    began: Micros,
    current: u64,
    previous: u64,
}

impl Lowest {
    pub(crate) fn new(window_us: u64) -> Self {
        Self {
            window_us,
            began: 0,
            current: u64::MAX,
            previous: u64::MAX,
        }
    }

    pub(crate) fn observe(&mut self, now: Micros, value: u64) {
        if self.current == u64::MAX && self.previous == u64::MAX {
            self.began = now;
        }
        if now >= self.began + self.window_us {
            self.previous = self.current;
            self.current = u64::MAX;
            self.began = now;
        }
        self.current = self.current.min(value);
    }

    /// `None` before anything was seen.
    pub(crate) fn get(&self) -> Option<u64> {
        let lowest = self.current.min(self.previous);
        (lowest != u64::MAX).then_some(lowest)
    }
}
