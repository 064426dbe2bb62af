//! The participant at a browser: a program of `web/e2e` that opens the page, and is told and asked in lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use darktower_client::Via;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use crate::crowd::Standing;
use crate::nice;

/// Compiled by `npm run tools -w e2e`.
const PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../web/e2e/dist/bench/onlooker.js"
);
/// It looks on: what the others are held to must not depend on what it draws.
const NICE: i8 = 5;
/// It starts a browser and joins within this time.
const ARRIVES: Duration = Duration::from_secs(40);
/// An answer takes no longer.
const ANSWERS: Duration = Duration::from_secs(10);

/// A participant with a camera and a microphone, at a browser.
pub(crate) struct Onlooker {
    program: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    id: String,
    /// Whose pictures are no gap of the others.
    apart: BTreeSet<String>,
}

/// What it saw since the reset.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    /// `joined`, where it is in the meeting.
    phase: String,
    me: Option<String>,
    /// Of everybody who is there and whose pictures ever came.
    gaps: Vec<Gap>,
    /// How each has stood on its roster since it came, one entry for each change.
    standings: BTreeMap<String, Vec<Standing>>,
    has_media: bool,
    /// By which code its media link is refused, where it is.
    media_refused: Option<String>,
    /// How long it did not look, at most.
    late_ms: f64,
    /// The least that it believed of its way up, in bit/s.
    least_up_bps: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Gap {
    id: String,
    longest_ms: f64,
    lasting_ms: f64,
}

impl Onlooker {
    /// Into the meeting of this link, by these ways.
    pub(crate) async fn arrive(link: &str, ways: &Via) -> anyhow::Result<Self> {
        anyhow::ensure!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is not built: `make chaos` does that"
        );
        let mut node = Command::new("nice");
        node.args(["-n", &NICE.to_string()]);
        // Chromium lifts what it draws and plays with above the others, where it may.
        if nice::may_lift()? {
            node.args(["setpriv", "--bounding-set", "-sys_nice"]);
        }
        node.args(["node", PROGRAM, "--link", link]);
        if let Via::Relays(relays) = ways {
            for (to, by) in relays {
                node.arg("--map").arg(format!("{to}={by}"));
            }
        }
        let mut program = node
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("node does not start")?;
        let orders = program.stdin.take().context("its orders")?;
        let answers = program.stdout.take().context("its answers")?;
        let mut onlooker = Self {
            program,
            orders,
            answers: BufReader::new(answers).lines(),
            id: String::new(),
            apart: BTreeSet::new(),
        };
        let came = onlooker.answer(ARRIVES).await?;
        let node = onlooker.program.id().context("node has ended")?;
        nice::sessions_below(node, NICE)?;
        onlooker.id = came.me.context("the browser is nobody")?;
        Ok(onlooker)
    }

    /// By which the others know it.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What it sees counts from now.
    pub(crate) async fn reset(&mut self) -> anyhow::Result<()> {
        self.orders.write_all(b"reset\n").await?;
        let answer = timeout(ANSWERS, self.answers.next_line()).await;
        answer.context("the browser does not answer")??;
        Ok(())
    }

    pub(crate) async fn report(&mut self) -> anyhow::Result<Report> {
        let mut report = self.report_of_all().await?;
        report.gaps.retain(|gap| !self.apart.contains(&gap.id));
        Ok(report)
    }

    async fn report_of_all(&mut self) -> anyhow::Result<Report> {
        self.orders.write_all(b"report\n").await?;
        self.answer(ANSWERS).await
    }

    /// What comes of this one is no gap of the others: it is away, and told of by itself.
    pub(crate) fn sets_apart(&mut self, owner: &str) {
        self.apart.insert(owner.to_owned());
    }

    /// Whether a picture of this one came after `then`.
    pub(crate) async fn sees_one_since(
        &mut self,
        owner: &str,
        then: Instant,
    ) -> anyhow::Result<bool> {
        let since = then.elapsed();
        let report = self.report_of_all().await?;
        let of = report.gaps.iter().find(|gap| gap.id == owner);
        Ok(of.is_some_and(|gap| millis(gap.lasting_ms) < since))
    }

    /// Whether a report is of the participant that came.
    pub(crate) fn is_same(&self, report: &Report) -> bool {
        report.me.as_deref() == Some(self.id()) && report.phase == "joined"
    }

    async fn answer(&mut self, within: Duration) -> anyhow::Result<Report> {
        let line = timeout(within, self.answers.next_line()).await;
        let line = line.context("the browser does not answer")??;
        let line = line.context("the browser has ended; it says above why")?;
        serde_json::from_str(&line).with_context(|| line)
    }

    pub(crate) async fn leave(mut self) -> anyhow::Result<()> {
        drop(self.orders);
        let ended = timeout(ANSWERS, self.program.wait()).await;
        let ended = ended.context("the browser does not end")??;
        anyhow::ensure!(ended.success(), "the browser ended with {ended}");
        Ok(())
    }
}

impl Report {
    /// The longest time without a new picture on the screen of anybody.
    pub(crate) fn longest(&self) -> Duration {
        longest(self.gaps.iter().map(|gap| gap.longest_ms))
    }

    /// How long pictures of somebody have been missing.
    pub(crate) fn lasting(&self) -> Duration {
        longest(self.gaps.iter().map(|gap| gap.lasting_ms))
    }

    /// What it saw, for whom that was too long.
    pub(crate) fn in_words(&self) -> String {
        let each = self.gaps.iter();
        let each: Vec<_> = each.map(|gap| format!("{:.0}", gap.longest_ms)).collect();
        let up = match self.least_up_bps {
            Some(bps) => format!("{:.0} kbit/s", bps / 1000.0),
            None => "nothing".to_owned(),
        };
        let (each, late) = (each.join(", "), self.late_ms);
        format!(
            "{each} ms between two pictures; looks up to {late:.0} ms apart, and at least {up} believed of its way up"
        )
    }

    /// How this one has stood on its roster, one entry for each change.
    pub(crate) fn standings(&self, of: &str) -> &[Standing] {
        self.standings.get(of).map_or(&[], Vec::as_slice)
    }

    /// Whether its media link is up, and by which code it is refused where it is.
    pub(crate) fn media(&self) -> (bool, Option<&str>) {
        (self.has_media, self.media_refused.as_deref())
    }

    /// Of how many it sees pictures.
    pub(crate) fn senders(&self) -> usize {
        self.gaps.len()
    }
}

fn longest(ms: impl Iterator<Item = f64>) -> Duration {
    millis(ms.fold(0.0, f64::max))
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1000.0)
}
