//! Each rule fails on a text that breaks it and passes on one that does not.

use std::collections::BTreeSet;

use super::metadata::{Graph, Package};
use super::{code, documents, layers, licences, purity, sources};

fn graph(packages: &[(&str, Option<&str>, &[&str])]) -> Graph {
    let mut graph = Graph::default();
    for (name, member, needs) in packages {
        let package = Package {
            name: (*name).to_owned(),
            member: member.map(str::to_owned),
            licence: Some("MIT".to_owned()),
            source: None,
            needs: needs
                .iter()
                .map(|n| (*n).to_owned())
                .collect::<BTreeSet<_>>(),
        };
        graph.packages.insert((*name).to_owned(), package);
    }
    graph
}

fn says(faults: &[super::Fault], text: &str) -> bool {
    faults.iter().any(|fault| fault.to_string().contains(text))
}

#[test]
fn arrows_lead_down() {
    let wire = ("wire", Some("crates/core/wire"), &[][..]);
    let good = graph(&[
        wire,
        ("net", Some("crates/io/net"), &["wire"]),
        ("cluster", Some("crates/io/cluster"), &["net"]),
        ("a", Some("crates/services/a"), &["cluster", "wire"]),
    ]);
    assert_eq!(layers::check(&good), []);

    let up = graph(&[
        ("wire", Some("crates/core/wire"), &["net"]),
        ("net", Some("crates/io/net"), &[]),
    ]);
    assert!(says(&layers::check(&up), "wire: leans on net"));

    let across = graph(&[
        ("a", Some("crates/services/a"), &["b"]),
        ("b", Some("crates/services/b"), &[]),
    ]);
    assert!(says(&layers::check(&across), "a: leans on b"));

    let nowhere = graph(&[("x", Some("crates/extra"), &[])]);
    assert!(says(&layers::check(&nowhere), "on no layer"));

    let web = graph(&[
        ("web-core", Some("crates/web-core"), &["net"]),
        ("net", Some("crates/io/net"), &[]),
    ]);
    assert!(says(&layers::check(&web), "takes cores alone"));
}

#[test]
fn keys_stay_with_the_ends() {
    let e2ee = ("darktower-e2ee", Some("crates/core/e2ee"), &["mls-rs"][..]);
    let mls = ("mls-rs", None, &[][..]);
    let client = ("client", Some("crates/client"), &["darktower-e2ee"][..]);
    assert_eq!(layers::check(&graph(&[e2ee, mls, client])), []);

    let server = (
        "media",
        Some("crates/services/media"),
        &["darktower-e2ee"][..],
    );
    let faults = layers::check(&graph(&[e2ee, mls, server]));
    assert!(says(&faults, "media: links darktower-e2ee"));
    assert!(says(&faults, "media: links mls-rs"));

    let program = ("darktower", Some("crates/darktower"), &["between"][..]);
    let between = ("between", None, &["mls-rs-core"][..]);
    let core = ("mls-rs-core", None, &[][..]);
    let faults = layers::check(&graph(&[program, between, core]));
    assert!(says(&faults, "darktower: links mls-rs-core"));
}

#[test]
fn licences_are_read_as_expressions() {
    assert!(licences::permits("MIT"));
    assert!(licences::permits("MIT/Apache-2.0"));
    assert!(licences::permits("GPL-3.0 OR (MIT AND ISC)"));
    assert!(licences::permits(
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0"
    ));
    assert!(!licences::permits("GPL-3.0"));
    assert!(!licences::permits("MIT AND GPL-3.0"));
    assert!(!licences::permits("(MIT"));
    assert!(!licences::permits(""));
}

#[test]
fn outside_packages_are_judged() {
    let mut graph = graph(&[("aws-lc-sys", None, &[]), ("x", None, &[])]);
    if let Some(x) = graph.packages.get_mut("x") {
        x.licence = None;
        x.source = Some("git+https://example.org/x".to_owned());
    }
    let faults = licences::check(&graph);
    assert!(says(&faults, "aws-lc-sys: is banned"));
    assert!(says(&faults, "x: names no licence"));
    assert!(says(&faults, "x: comes from a git address"));
}

#[test]
fn a_core_has_no_effects() {
    let core = "crates/core/media/src/forwarder.rs";
    for line in [
        "use std::time::{Duration, Instant};",
        "let now = std::time::SystemTime::now();",
        "use std::net::SocketAddr;",
        "std::thread::spawn(f);",
        "use tokio::sync::mpsc;",
        "async fn x() {}",
        "rand::random()",
    ] {
        assert_eq!(purity::check(core, line).len(), 1, "{line}");
        assert_eq!(purity::check("crates/io/net/src/x.rs", line), []);
        let in_tests = format!("#[cfg(test)]\nmod tests {{\n{line}\n}}");
        assert_eq!(purity::check(core, &in_tests), []);
    }
    let prose = "/// Not an `Instant`, nor tokio.\nlet operand = \"async\"; let random_bytes = 1;";
    assert_eq!(purity::check(core, prose), []);
}

#[test]
fn files_are_short_and_open_with_words() {
    let long = "//! x\n".repeat(601);
    assert!(says(
        &sources::check("crates/a/src/x.rs", &long),
        "601 lines"
    ));
    assert_eq!(sources::check("crates/a/src/gen/x.rs", &long), []);
    assert!(says(
        &sources::check("crates/a/src/lib.rs", "mod x;"),
        "open with"
    ));
    assert_eq!(
        sources::check("crates/a/src/lib.rs", "//! It is.\nmod x;"),
        []
    );
}

#[test]
fn names_say_something() {
    let at = "crates/a/src/x.rs";
    for line in [
        "struct RoomManager;",
        "enum HelperKind {}",
        "mod utils;",
        "fn common_part() {}",
        "pub trait TimeUtil {}",
    ] {
        assert!(says(&sources::check(at, line), "names nothing"), "{line}");
    }
    for line in [
        "struct Utility;",
        "fn commonly() {}",
        "// the Manager",
        "let s = \"Helper\";",
    ] {
        assert_eq!(sources::check(at, line), [], "{line}");
    }
    assert!(says(
        &sources::check("web/app/src/utils.ts", ""),
        "names nothing"
    ));
    assert!(says(
        &sources::check("web/app/src/time-helper.ts", ""),
        "names nothing"
    ));
}

#[test]
fn nothing_is_left_undone() {
    let line = format!("// {}: later", concat!("TO", "DO"));
    assert!(says(
        &sources::check("crates/a/src/x.rs", &line),
        "unfinished"
    ));
    assert!(says(
        &sources::check("web/sdk/src/x.ts", &line),
        "unfinished"
    ));
}

#[test]
fn tests_neither_skip_nor_sleep() {
    let rust = "crates/a/tests/it/x.rs";
    assert!(says(
        &sources::check(rust, "#[ignore]\nfn x() {}"),
        "skipped"
    ));
    assert!(says(
        &sources::check(rust, "tokio::time::sleep(d).await;"),
        "sleep"
    ));
    let inline = "fn a() { sleep(d); }\n#[cfg(test)]\nmod tests {\nfn b() { sleep(d); }\n}";
    let faults = sources::check("crates/a/src/x.rs", inline);
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].line, 4);
    let web = "web/sdk/src/x.test.ts";
    assert!(says(&sources::check(web, "it.skip('x', f)"), "skipped"));
    assert!(says(&sources::check(web, "test.only('x', f)"), "skipped"));
    assert!(says(
        &sources::check(web, "await page.waitForTimeout(5)"),
        "sleep"
    ));
    // What a bench plays takes its time.
    let bench = sources::check("web/e2e/bench/x.ts", "await sleep(5)");
    assert_eq!(bench, []);
    assert!(says(
        &sources::check("web/e2e/lib/x.ts", "await sleep(5)"),
        "sleep"
    ));
    assert_eq!(
        sources::check("crates/a/src/y.rs", "iter.skip(1); interval.tick()"),
        []
    );
}

#[test]
fn documents_are_bounded_and_linked() {
    let long = "x\n".repeat(401);
    assert!(documents::length("docs/ARCHITECTURE.md", &long).is_some());
    assert!(documents::length("docs/decisions/one.md", &long).is_some());
    assert!(documents::length("docs/GLOSSARY.md", &long).is_none());

    let exists = |path: &str| path == "docs/GLOSSARY.md";
    let page = "docs/protocol/media.md";
    assert_eq!(
        documents::links(page, "[g](../GLOSSARY.md#x) [o](https://x.org)", exists),
        []
    );
    assert_eq!(
        documents::links(page, "```\n[x](gone.md)\n```\n`[x](gone.md)`", exists),
        []
    );
    assert!(says(
        &documents::links(page, "[`g`](gone.md)", exists),
        "leads nowhere"
    ));
    assert!(says(
        &documents::links(page, "[g](../../../x.md)", exists),
        "leads nowhere"
    ));
}

#[test]
fn tests_that_are_named_exist() {
    let rust = "#[test]\nfn what_is() {}\n    async fn generic<T>(_: T) {}\n";
    let found = documents::functions("crates/one/tests/one.rs", rust);
    assert_eq!(found, ["what_is", "generic"]);
    assert!(documents::functions("web/one.ts", rust).is_empty());

    let exists = |name: &str| name == "what_is";
    let row = |name: &str| format!("| `token_expired` | one | `{name}`, `tests/fuzz` |\n");
    let page = "docs/testing.md";
    assert_eq!(documents::tests(page, &row("what_is"), exists), []);
    let gone = documents::tests(page, &row("what_was"), exists);
    assert!(says(&gone, "no test is called `what_was`"));
    assert_eq!(documents::tests("docs/other.md", &row("gone"), exists), []);
}

#[test]
fn blanking_keeps_code_and_lines() {
    let text =
        "let a = \"x // y\"; // tail\nlet b = r#\"TOKEN\"#; /* c */ let c = '\"'; fn f<'a>() {}";
    let blanked = code::blank(text, true);
    assert_eq!(blanked.len(), text.len());
    assert_eq!(blanked.lines().count(), 2);
    assert!(!blanked.contains("tail") && !blanked.contains("TOKEN"));
    assert!(blanked.contains("fn f<'a>() {}") && blanked.contains("let c ="));
}
