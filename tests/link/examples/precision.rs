//! How exact the relay is on this machine: `cargo run --release -p darktower-link --example precision`.
//! For each delay, the error of the round-trip time through the relay over what was asked for.

use std::error::Error;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use darktower_link::relay::{Config, Relay};

const ROUNDS: u32 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let target = UdpSocket::bind("127.0.0.1:0")?;
    let direct = target.local_addr()?;
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((bytes, from)) = target.recv_from(&mut buffer) {
            if target.send_to(&buffer[..bytes], from).is_err() {
                return;
            }
        }
    });
    report("no relay", direct, Duration::ZERO)?;
    for rtt in [0, 20, 40, 60, 100].map(Duration::from_millis) {
        let relay = Relay::start(Config::new(direct).round_trip(rtt))?;
        report("relay", relay.addr(), rtt)?;
    }
    Ok(())
}

fn report(name: &str, to: SocketAddr, rtt: Duration) -> Result<(), Box<dyn Error>> {
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(to)?;
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut errors = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        client.send(&[0; 1200])?;
        client.recv(&mut [0; 2048])?;
        errors.push(
            begun
                .elapsed()
                .checked_sub(rtt)
                .ok_or("a packet came early")?,
        );
    }
    errors.sort();
    let at = |part: f64| errors.get((f64::from(ROUNDS - 1) * part) as usize).copied();
    writeln!(
        std::io::stdout(),
        "{name:>8}  rtt {rtt:>5?}  late by p50 {:?}  p95 {:?}  max {:?}",
        at(0.5).unwrap_or_default(),
        at(0.95).unwrap_or_default(),
        at(1.0).unwrap_or_default(),
    )?;
    Ok(())
}
