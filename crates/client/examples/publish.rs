//! Publishes encoded files for a minute, as if they were a camera and a microphone.
//!
//! `cargo run -p darktower-client --example publish -- http://127.0.0.1:8080 'abc-defg-hij#k=SECRET' clip.ivf clip.ogg`

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use darktower_client::file::Clip;
use darktower_client::{Api, Client, Invitation};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let server = arguments.next().unwrap_or_default();
    let invitation = Invitation::parse(&arguments.next().unwrap_or_default())?;
    let clips = arguments.map(|path| Clip::open(Path::new(&path)).map(Arc::new));
    let clips = clips.collect::<Result<Vec<_>, _>>()?;

    let access = Api::new(&server)?.lookup(&invitation.code, None).await?;
    let (client, _events) = Client::enter(access, invitation.secret);
    let offers = clips.iter().map(|clip| clip.offer("file")).collect();
    let tracks = client.join("Publisher", offers).await?;

    // One begin for all, so that sound and picture belong together.
    for track in &tracks {
        track.ready().await?;
    }
    let begin = client.now();
    for (track, clip) in tracks.into_iter().zip(clips) {
        tokio::spawn(async move { track.play(&clip, begin).await });
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.leave().await;
    Ok(())
}
