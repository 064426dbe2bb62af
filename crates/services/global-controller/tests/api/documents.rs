//! The page, its headers, and the documents that are checked in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use darktower_wire::Code;
use darktower_wire::code::Fault;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::house::{House, request};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// Compares a checked-in document with what it is made from. With
/// `DARKTOWER_WRITE=1` it is written instead.
fn is_fresh(path: &str, fresh: &str) {
    let file = root().join(path);
    if std::env::var_os("DARKTOWER_WRITE").is_some() {
        std::fs::write(&file, fresh).unwrap();
    }
    let present = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        present == fresh,
        "{path} is stale: DARKTOWER_WRITE=1 cargo test -p darktower-global-controller --test api documents"
    );
}

#[test]
fn openapi_document_is_fresh() {
    is_fresh(
        "proto/openapi.json",
        &darktower_global_controller::openapi(),
    );
}

#[test]
fn table_of_errors_is_fresh() {
    let mut page = include_str!("errors.head.md").to_owned();
    page += "| number | code | HTTP | gRPC | retry | fault | meaning |\n|--:|---|--:|--:|---|---|---|\n";
    for code in Code::ALL {
        let retry = if code.is_retryable() { "yes" } else { "no" };
        let fault = match code.fault() {
            Fault::None => "nobody",
            Fault::Caller => "caller",
            Fault::Service => "service",
        };
        page += &format!(
            "| {} | `{code}` | {} | {} | {retry} | {fault} | {} |\n",
            code.number(),
            code.http_status(),
            code.grpc_status(),
            code.description(),
        );
    }
    is_fresh("docs/protocol/errors.md", &page);
}

#[test]
fn openapi_document_refers_to_what_it_has() {
    let document: Value = serde_json::from_str(&darktower_global_controller::openapi()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/api/v1/meetings",
        "/api/v1/meetings/{meeting}",
        "/api/v1/auth/token",
        "/api/v1/health",
        "/.well-known/jwks.json",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
                Value::String(target) if name == "$ref" => found.push(target.clone()),
                value => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for target in found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
}

#[tokio::test]
async fn the_document_and_the_metrics_are_served() {
    let house = House::new().await;
    let served = house.get("/api/v1/openapi.json").await;
    assert_eq!(served.body, darktower_global_controller::openapi());
    let metrics = house.get("/metrics").await;
    assert_eq!(metrics.body, "up 1\n");
    assert!(metrics.header("content-type").starts_with("text/plain"));
}

#[tokio::test]
async fn the_page_is_there_for_every_route_of_the_app() {
    let house = House::new().await;
    for path in ["/", "/m/abc-defg-hij"] {
        let page = house.get(path).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        assert!(page.header("content-type").starts_with("text/html"));
        let policy = page.header("content-security-policy");
        assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval';"));
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"));
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), value);
        }
        assert!(page.header("permissions-policy").contains("camera=(self)"));
    }
    // Nothing to tell of a meeting that is not there: its page is the one for all.
    let mut visitor = request(Method::GET, "/m/abc-defg-hij");
    visitor
        .headers_mut()
        .insert("sec-fetch-dest", "document".parse().unwrap());
    let page = house.ask(visitor).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert_ne!(page.header("cache-control"), "no-store");
    let mut person = request(Method::GET, "/no/such/page");
    person
        .headers_mut()
        .insert("accept", "text/html,*/*".parse().unwrap());
    let lost = house.ask(person).await;
    assert!(lost.header("content-type").starts_with("text/html"));
    house
        .get("/../../etc/passwd")
        .await
        .is_problem(Code::NotFound);
    house
        .get("/%2e%2e/Cargo.toml")
        .await
        .is_problem(Code::NotFound);
}

#[tokio::test]
async fn stopping_is_bounded_and_leaves_the_registry() {
    let house = House::new().await;
    let (running, state) = (house.running, house.state);
    let id = running.id();
    let stopped = tokio::time::timeout(
        Duration::from_secs(10),
        running.stop(Duration::from_secs(1)),
    );
    stopped.await.unwrap();
    let left = darktower_store::StateStore::list_nodes(&*state, None)
        .await
        .unwrap();
    assert!(left.iter().all(|node| node.id != id));
}
