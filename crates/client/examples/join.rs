//! Joins a meeting and tells who comes and goes.
//!
//! `cargo run -p darktower-client --example join -- http://127.0.0.1:8080 'abc-defg-hij#k=SECRET'`

use std::io::Write as _;

use darktower_client::{Api, Client, Event, Invitation, Phase};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let server = arguments.next().unwrap_or_default();
    let invitation = Invitation::parse(&arguments.next().unwrap_or_default())?;

    // Where is the meeting, and may we in?
    let access = Api::new(&server)?.lookup(&invitation.code, None).await?;
    // Both links open while the program is still in the lobby.
    let (client, mut events) = Client::enter(access, invitation.secret);
    client.join("Example", Vec::new()).await?;

    let mut out = std::io::stdout();
    while let Some(event) = events.next().await {
        match event {
            Event::Notice { notice, .. } => writeln!(out, "{notice:?}")?,
            Event::Phase {
                phase: Phase::Joined,
                at,
            } => {
                // The others' screens show the same code: nobody is in between.
                let state = client.reach(|it| it.e2ee.ready).await?;
                writeln!(
                    out,
                    "joined after {at:?}, verification code {}",
                    state.e2ee.code
                )?;
            }
            Event::Phase {
                phase: Phase::Ended | Phase::Failed,
                ..
            } => break,
            _ => {}
        }
    }
    client.leave().await;
    Ok(())
}
