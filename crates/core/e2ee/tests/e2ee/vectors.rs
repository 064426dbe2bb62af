//! The files of `proto/vectors`, by the check that the WASM build runs too.

use darktower_e2ee::vectors::check;

const FILES: [(&str, &str); 3] = [
    (
        "sframe-rfc9605",
        include_str!("../../../../../proto/vectors/sframe-rfc9605.json"),
    ),
    (
        "mls-rfc9420",
        include_str!("../../../../../proto/vectors/mls-rfc9420.json"),
    ),
    (
        "sframe-darktower",
        include_str!("../../../../../proto/vectors/sframe-darktower.json"),
    ),
];

#[test]
fn every_vector_holds() {
    for (name, json) in FILES {
        let count = check(json).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(count >= 5, "{name} has only {count}");
    }
}

#[test]
fn a_wrong_vector_is_noticed() {
    for (name, json) in FILES {
        // The last hexadecimal digit of the file is part of an expected value.
        let at = json.rfind(|c: char| c.is_ascii_hexdigit()).unwrap();
        let mut wrong = json.to_owned();
        let digit = if &json[at..=at] == "1" { "2" } else { "1" };
        wrong.replace_range(at..=at, digit);
        assert!(check(&wrong).is_err(), "{name}");
    }
    assert!(check("{}").is_err());
    assert!(check("not json").is_err());
}
