//! Every file of `proto/vectors` by the native build, and the lines that set it against the WASM build.

use std::path::PathBuf;

use darktower_vectors::{End, check};

fn files() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../proto/vectors");
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .expect("proto/vectors")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, std::fs::read_to_string(path).expect("a text"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_vector_holds() {
    let files = files();
    assert!(files.len() >= 7, "only {} files", files.len());
    for (name, json) in files {
        let count = check(&name, &json).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(count >= 5, "{name} has only {count}");
    }
}

/// A check that looks at nothing would hold as well: each digit of each expected value has to matter.
#[test]
fn a_changed_vector_is_noticed() {
    for (name, json) in files() {
        if !name.starts_with("wire-") {
            continue; // held by the tests of the crate they belong to
        }
        let mut noticed = 0;
        for (at, _) in json.match_indices("\"bytes\": \"") {
            let digit = at + "\"bytes\": \"".len();
            // The first digit: a version, flags, a length or a field number.
            let Some(value) = json[digit..].chars().next().and_then(|c| c.to_digit(16)) else {
                continue;
            };
            let mut wrong = json.clone();
            wrong.replace_range(digit..=digit, &format!("{:x}", value ^ 4));
            if check(&name, &wrong).is_err() {
                noticed += 1;
            }
        }
        let all = json.matches("\"bytes\": \"").count();
        assert!(
            noticed * 10 >= all * 8,
            "{name}: {noticed} of {all} noticed"
        );
    }
}

#[test]
fn what_is_no_vector_is_refused() {
    assert!(check("wire-x.json", "{}").is_err());
    assert!(check("wire-x.json", "not json").is_err());
    assert!(check("wire-x.json", r#"{"varint": []}"#).is_err());
    assert!(check("wire-x.json", r#"{"varints": [{}]}"#).is_err());
    assert!(check("other-x.json", r#"{"varints": []}"#).is_err());
}

fn ok(end: &mut End, line: &str) -> Vec<String> {
    let answer = end.answer(line);
    let values = answer
        .strip_prefix("ok ")
        .unwrap_or_else(|| panic!("{line}: {answer}"));
    values.split(' ').map(str::to_owned).collect()
}

#[test]
fn two_ends_meet_over_lines() {
    let (a, b) = ("a".repeat(32), "b".repeat(32));
    let (mut ann, mut bo) = (End::new(), End::new());
    let link = "AAECAwQFBgcICQoLDA0ODw";
    let info = ok(&mut ann, &format!("found {a} {} {link}", "7".repeat(32)));
    let commit = ok(&mut bo, &format!("join {b} {} {link}", info[0]));
    assert_eq!(ok(&mut ann, &format!("process {}", commit[0])), ["1", "2"]);
    assert_eq!(ok(&mut ann, "code"), ok(&mut bo, "code"));
    let frame = ok(&mut bo, "seal 5 6 7 cafe").remove(0);
    let open = format!("open {b} {frame}");
    assert_eq!(ok(&mut ann, &open), ["5", "6", "7", "cafe"]);
    assert!(
        ann.answer(&format!("open {a} {frame}"))
            .starts_with("error")
    );
    assert!(ann.answer("process 00").starts_with("error"));
    assert!(ann.answer("open").starts_with("error"));
}
