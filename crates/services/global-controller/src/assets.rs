//! The web app, from the binary.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use darktower_wire::Code;
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};
use rust_embed::{EmbeddedFile, RustEmbed};
use serde::Serialize;

use crate::problem::Problem;

/// `web/app/dist`; empty where it was not built.
#[derive(RustEmbed)]
#[folder = "$DARKTOWER_WEB_APP"]
struct WebApp;

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Dark Tower</title>\
<h1>The web app was not built</h1><p>The server runs and its API answers. \
Build the web app with <code>make web</code>, then build the server again.</p></html>";

/// Content that never changes under its name.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Content to be asked for again each time; mostly answered by 304.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// The page of every route of the app.
pub(crate) async fn page(headers: HeaderMap) -> Response {
    index(&headers, StatusCode::OK)
}

/// The page of every route, with `told` for its script to read as `#told`. It is for this visitor alone.
pub(crate) fn page_told(headers: &HeaderMap, told: &impl Serialize) -> Response {
    let page = WebApp::get("index.html").and_then(|page| with_told(&page.data, told));
    let Some(page) = page else {
        return index(headers, StatusCode::OK);
    };
    (
        [(header::CACHE_CONTROL, "no-store")],
        axum::response::Html(page),
    )
        .into_response()
}

/// `None` where the page has no head to end, or `told` is no JSON.
fn with_told(page: &[u8], told: &impl Serialize) -> Option<String> {
    let (head, rest) = std::str::from_utf8(page).ok()?.split_once("</head>")?;
    // In text a script cannot be ended, nor a comment begun, without this sign.
    let told = serde_json::to_string(told).ok()?.replace('<', "\\u003c");
    Some(format!(
        "{head}<script type=\"application/json\" id=\"told\">{told}</script></head>{rest}"
    ))
}

/// A file of the app; else the page with status 404 for a person, a problem for a program.
pub(crate) async fn file(method: http::Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let is_read = matches!(method, http::Method::GET | http::Method::HEAD);
    if path.starts_with("api/") || !is_read {
        return Problem::from(Code::NotFound).into_response();
    }
    if let Some(response) = embedded(path, &headers) {
        return response;
    }
    let accept = headers.get(header::ACCEPT);
    let is_person = accept.is_some_and(|accept| {
        accept
            .to_str()
            .is_ok_and(|accept| accept.contains("text/html"))
    });
    match is_person {
        true => index(&headers, StatusCode::NOT_FOUND),
        false => Problem::from(Code::NotFound).into_response(),
    }
}

fn index(headers: &HeaderMap, status: StatusCode) -> Response {
    match embedded("index.html", headers) {
        Some(response) if status == StatusCode::OK => response,
        Some(mut response) => {
            if response.status() == StatusCode::OK {
                *response.status_mut() = status;
            }
            response
        }
        None => (status, axum::response::Html(NOT_BUILT)).into_response(),
    }
}

fn embedded(path: &str, headers: &HeaderMap) -> Option<Response> {
    let plain = WebApp::get(path)?;
    let takes_brotli = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|part| part.trim() == "br"));
    let brotli = match takes_brotli {
        true => WebApp::get(&format!("{path}.br")),
        false => None,
    };
    let is_brotli = brotli.is_some();
    let mut response = answer(path, brotli.unwrap_or(plain), headers);
    let set = response.headers_mut();
    set.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if is_brotli {
        set.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    Some(response)
}

fn answer(path: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let hash = file.metadata.sha256_hash();
    let tag: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = format!("\"{tag}\"");
    let known = headers.get(header::IF_NONE_MATCH);
    let mut response = match known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Body::from(file.data).into_response(),
    };
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime(path)));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        set.insert(header::ETAG, tag);
    }
    // The bundler puts a hash of its contents into the name of each of these.
    let cache = match path.starts_with("assets/") {
        true => IMMUTABLE,
        false => REVALIDATE,
    };
    set.insert(header::CACHE_CONTROL, cache);
    response
}

fn mime(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wav" => "audio/wav",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_cannot_leave_its_element() {
        let told = serde_json::json!({ "title": "</script><script>alert(1)</script><!--" });
        let page = with_told(b"<html><head></head><body></body></html>", &told).unwrap();
        let (_, inner) = page.split_once("id=\"told\">").unwrap();
        let (inner, rest) = inner.split_once("</script>").unwrap();
        assert_eq!(rest, "</head><body></body></html>");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(inner).unwrap(),
            told
        );
    }

    #[test]
    fn a_page_without_a_head_is_left_as_it_is() {
        assert_eq!(with_told(b"<p>", &1), None);
    }
}
