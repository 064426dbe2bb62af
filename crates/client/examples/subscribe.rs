//! Opens a hundred frames of whatever the others publish, and tells of each.
//!
//! `cargo run -p darktower-client --example subscribe -- http://127.0.0.1:8080 'abc-defg-hij#k=SECRET'`

use std::io::Write as _;

use darktower_client::{Api, Client, Invitation};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let server = arguments.next().unwrap_or_default();
    let invitation = Invitation::parse(&arguments.next().unwrap_or_default())?;

    let access = Api::new(&server)?.lookup(&invitation.code, None).await?;
    let (client, mut events) = Client::enter(access, invitation.secret);
    client.join("Subscriber", Vec::new()).await?;

    // Everything is subscribed to unless told otherwise. A track's first frame can always be decoded alone.
    let mut out = std::io::stdout();
    for _ in 0..100 {
        let Some(frame) = events.next_frame().await else {
            break;
        };
        let kind = if frame.video { "picture" } else { "sound" };
        let (track, bytes) = (frame.track.0, frame.bytes.len());
        writeln!(
            out,
            "{:?}: track {track}, {kind}, {bytes} bytes, key: {}",
            frame.at, frame.key
        )?;
    }
    client.leave().await;
    Ok(())
}
