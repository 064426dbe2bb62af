//! The settings in effect, for a person to read: secrets are hidden.

use toml::Value;

use crate::settings::Settings;

const HIDDEN: &str = "***";

/// The settings as TOML.
pub(crate) fn settings(settings: &Settings) -> Result<String, toml::ser::Error> {
    let mut value = Value::try_from(settings)?;
    hide(&mut value);
    toml::to_string_pretty(&value)
}

/// Hides what a key's name or a URL's form says is secret.
fn hide(value: &mut Value) {
    match value {
        Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                let secret = ["secret", "password", "private_key"];
                if secret.iter().any(|word| key.ends_with(word)) {
                    if value.as_str().is_some_and(|text| !text.is_empty()) {
                        *value = Value::String(HIDDEN.to_owned());
                    }
                } else {
                    hide(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        Value::String(text) => {
            if let Some(hidden) = without_credentials(text) {
                *text = hidden;
            }
        }
        _ => {}
    }
}

/// A URL with its user and password hidden; `None` where it has none.
pub(crate) fn without_credentials(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (_, host) = rest[..end].rsplit_once('@')?;
    Some(format!("{scheme}://{HIDDEN}@{host}{}", &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        let text = "url = \"postgres://tower:s3cret@db/x\"\nhost = \"https://a/b@c\"\n\
                    [a]\npassword = \"s3cret\"\npassword_file = \"/etc/p\"\nnames = [\"redis://u:s3cret@h\"]\n";
        let mut value: Value = toml::from_str(text).unwrap();
        hide(&mut value);
        let shown = toml::to_string(&value).unwrap();
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(
            shown.contains("postgres://***@db/x") && shown.contains("/etc/p"),
            "{shown}"
        );
        assert!(shown.contains("https://a/b@c"), "{shown}");
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        let shown = settings(&Settings::default()).unwrap();
        let read: Settings = toml::from_str(&shown).unwrap();
        assert_eq!(read, Settings::default());
    }
}
