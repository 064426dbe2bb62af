//! What a `Path` costs for each acknowledged packet: `cargo bench -p darktower-media`.
//!
//! One JSON line, of time on the processor (so of a Linux); nothing is asserted. A packet is sent and acknowledged, four in each
//! acknowledgement, as on a busy connection.

use std::hint::black_box;
use std::io::Write as _;
use std::time::Duration;

use darktower_media::path::{Config, Path, Rtt};

const PACKETS: u64 = 20_000_000;

fn main() -> std::io::Result<()> {
    let rtt = Rtt {
        min: Duration::from_millis(40),
        smoothed: Duration::from_millis(42),
    };
    let mut path = Path::new(Config::default(), Duration::ZERO);
    let began = on_processor_ns()?;
    for packet in 0..PACKETS {
        let sent = Duration::from_micros(packet * 500);
        path.sent(sent, 1200);
        // Four are acknowledged at the time of the last of them.
        let now = Duration::from_micros((packet | 3) * 500) + rtt.min;
        path.acked(now, black_box(sent), 1200, true, rtt);
    }
    let each = (on_processor_ns()? - began) / PACKETS as f64;
    black_box(path.window());
    writeln!(
        std::io::stdout(),
        r#"{{"bench":"path","packets":{PACKETS},"ns_per_packet":{each:.1}}}"#
    )
}

/// Time that this process has run, in nanoseconds.
fn on_processor_ns() -> std::io::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    let first = stat.split_whitespace().next().unwrap_or_default();
    first.parse().map_err(std::io::Error::other)
}
