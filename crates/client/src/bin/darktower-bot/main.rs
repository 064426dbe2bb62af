//! A participant without a screen: publishes files, checks what arrives, tells it all in JSON lines.
//!
//! Where to start: `bot.rs` is one participant, `seen.rs` what it checks, `order.rs` what it can be told.

mod bot;
mod order;
mod seen;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use darktower_client::Invitation;
use darktower_client::file::Clip;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Joins a meeting, publishes encoded files, and checks what arrives from the others.
///
/// Prints JSON lines: `link`, `phase`, `joined`, `epoch`, `roster`, `first_frame`, `counters` (each second), `summary`.
/// Times (`t_ms`) are since the join was asked for. Reads JSON lines from standard input: `{"do":"leave"}`,
/// `{"do":"mute","handle":1,"muted":true}`, `{"do":"publish","file":"clip.ivf"}`, `{"do":"unpublish","handle":1}`,
/// `{"do":"subscribe","track":3,"wanted":false}`, `{"do":"remove","participant":"…"}`, `{"do":"end"}`, `{"do":"state"}`,
/// `{"do":"show","views":[{"track":3,"width":640,"height":360}]}`, `{"do":"vanish"}` (gone without a farewell); `"bot":2` in one addresses a single bot of several.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The global controller; not needed where `--meeting` is a full link.
    #[arg(long)]
    server: Option<String>,
    /// Code, code#k=SECRET, or a full link.
    #[arg(long)]
    meeting: String,
    /// Access token of the API, such as a host's.
    #[arg(long)]
    token: Option<String>,
    /// As the others see it.
    #[arg(long, default_value = "Bot")]
    name: String,
    /// What the camera sees: VP8 or VP9 in IVF, best with a key frame each second.
    #[arg(long)]
    video: Option<PathBuf>,
    /// What the microphone hears: Opus in Ogg.
    #[arg(long)]
    audio: Option<PathBuf>,
    /// Films with a synthetic camera of three layers that obeys what is asked of its encoders.
    #[arg(long)]
    camera: bool,
    /// Speaks at a synthetic microphone all the time.
    #[arg(long)]
    microphone: bool,
    /// Reach the media handler at this address instead of its own, such as that of a relay.
    #[arg(long)]
    media_via: Option<SocketAddr>,
    /// How long to stay. Without it: until told to leave, or until standard input ends.
    #[arg(long)]
    seconds: Option<f64>,
    /// Chunks that arrive must be of these files; may be given several times.
    #[arg(long)]
    expect_file: Vec<PathBuf>,
    /// So many tracks of others must have brought frames by the end.
    #[arg(long, default_value_t = 0)]
    expect_tracks: usize,
    /// So many bots, named "Bot 1", "Bot 2", …
    #[arg(long, default_value_t = 1)]
    count: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let invitation = Invitation::parse(&arguments.meeting)?;
    let server = invitation.server.clone().or(arguments.server);
    let server = server.context("--server is needed where --meeting is no full link")?;
    let open = |path: &PathBuf| {
        let clip = Clip::open(path).with_context(|| path.display().to_string());
        clip.map(Arc::new)
    };
    let video = arguments.video.as_ref().map(open).transpose()?;
    let audio = arguments.audio.as_ref().map(open).transpose()?;
    let expected = arguments.expect_file.iter().map(open);
    let expected = expected.collect::<anyhow::Result<Vec<_>>>()?;
    let stay = arguments.seconds.map(Duration::try_from_secs_f64);
    let plan = Arc::new(bot::Plan {
        server,
        invitation,
        token: arguments.token,
        clips: video.into_iter().chain(audio).collect(),
        camera: arguments.camera,
        microphone: arguments.microphone,
        media_via: arguments.media_via,
        stay: stay.transpose().context("--seconds")?,
        expected: seen::Expected::new(&expected),
        expect_tracks: arguments.expect_tracks,
    });

    let orders = order::Orders::listen();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let all_well = runtime.block_on(async {
        let mut bots = JoinSet::new();
        for number in 1..=arguments.count {
            let name = match arguments.count {
                1 => arguments.name.clone(),
                _ => format!("{} {number}", arguments.name),
            };
            let (plan, orders) = (Arc::clone(&plan), orders.subscribe(number));
            bots.spawn(async move { bot::run(number, name, plan, orders).await });
        }
        drop(plan);
        let mut all_well = true;
        while let Some(ended) = bots.join_next().await {
            all_well &= ended.context("a bot panicked")??;
        }
        anyhow::Ok(all_well)
    });
    // Standard input may still be waited for by a thread that nothing can wake.
    runtime.shutdown_background();
    Ok(match all_well? {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Prints one line at once. A reader that is gone is no reason to leave the meeting.
fn say(bot: usize, event: &str, mut facts: Value) {
    if let Some(facts) = facts.as_object_mut() {
        facts.insert("event".to_owned(), json!(event));
        facts.insert("bot".to_owned(), json!(bot));
    }
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{facts}").and_then(|()| out.flush());
}
