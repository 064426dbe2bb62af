//! Settings from their sources: defaults < file < environment. A key nobody
//! knows is refused by name and line, wherever it stands.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format as _, Toml};

use crate::settings::Settings;

/// The file that is read where it is there.
const FILE: &str = "darktower.toml";

/// The variable that names another file, which then must be there.
const FILE_VARIABLE: &str = "DARKTOWER_CONFIG";

/// Variables with our prefix that are no settings: they tell tests which
/// programs to start.
const NO_SETTINGS: [&str; 5] = [
    FILE_VARIABLE,
    "DARKTOWER_BIN",
    "DARKTOWER_BOT",
    "DARKTOWER_LINK",
    "DARKTOWER_PREVIOUS",
];

const PREFIX: &str = "DARKTOWER_";

/// Why the settings cannot be used, in a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// The settings of this process.
pub(crate) fn settings() -> Result<Settings, Refused> {
    let named = std::env::var_os(FILE_VARIABLE).map(PathBuf::from);
    let path = named.clone().unwrap_or_else(|| PathBuf::from(FILE));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            String::new()
        }
        Err(error) => return Err(Refused(format!("{}: {error}", path.display()))),
    };
    for (variable, _) in std::env::vars_os() {
        if let Some(name) = variable.to_str() {
            known_variable(name)?;
        }
    }
    from(&path, &text, Env::prefixed(PREFIX))
}

/// A setting's variable names section and key; anything else with our prefix
/// is a slip of the pen.
fn known_variable(name: &str) -> Result<(), Refused> {
    let ours = name.strip_prefix(PREFIX);
    match ours {
        Some(rest) if !rest.contains("__") && !NO_SETTINGS.contains(&name) => Err(Refused(
            format!("unknown variable {name}: settings are written {PREFIX}<SECTION>__<KEY>"),
        )),
        _ => Ok(()),
    }
}

fn from(path: &Path, text: &str, environment: Env) -> Result<Settings, Refused> {
    let environment = environment
        .filter(|key| key.as_str().contains("__"))
        .split("__");
    Figment::new()
        .merge(Toml::string(text))
        .merge(environment)
        .extract()
        .map_err(|error| refused(path, text, error))
}

fn refused(path: &Path, text: &str, error: figment::Error) -> Refused {
    let mut keys = error.path.clone();
    let says = match &error.kind {
        Kind::UnknownField(name, known) => {
            if keys.last() != Some(name) {
                keys.push(name.clone());
            }
            let known = known.join(", ");
            format!("unknown key `{}`; known here: {known}", keys.join("."))
        }
        _ if keys.is_empty() => error.kind.to_string(),
        kind => format!("`{}`: {kind}", keys.join(".")),
    };
    let from_environment = error
        .metadata
        .as_ref()
        .is_some_and(|metadata| metadata.name.contains("environment"));
    let variable = || format!("{PREFIX}{}", keys.join("__").to_uppercase());
    let place = if from_environment && std::env::var_os(variable()).is_some() {
        variable()
    } else {
        match line(text, &keys) {
            Some(line) => format!("{}:{line}", path.display()),
            None if text.is_empty() || from_environment => variable(),
            None => path.display().to_string(),
        }
    };
    Refused(format!("{place}: {says}"))
}

/// The line, from 1, on which the key with this path stands.
fn line(text: &str, keys: &[String]) -> Option<usize> {
    let document = toml_edit::ImDocument::parse(text).ok()?;
    let mut item = document.as_item();
    let mut span = None;
    for name in keys {
        let (key, inner) = item.as_table_like()?.get_key_value(name)?;
        span = key.span().or_else(|| inner.span());
        item = inner;
    }
    let before = text.get(..span?.start)?;
    Some(before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, Refused> {
        // No variable has this prefix.
        from(Path::new("darktower.toml"), text, Env::prefixed("NOBODY_"))
    }

    #[test]
    fn no_file_is_needed() {
        assert_eq!(read("").unwrap(), Settings::default());
    }

    #[test]
    fn the_example_says_the_defaults() {
        let example = include_str!("../../../darktower.example.toml");
        assert_eq!(read(example).unwrap(), Settings::default());
        let keys = |text: &str| {
            let value: toml::Value = toml::from_str(text).unwrap();
            let mut names = Vec::new();
            for (section, value) in value.as_table().unwrap() {
                for key in value.as_table().unwrap().keys() {
                    names.push(format!("{section}.{key}"));
                }
            }
            names.sort();
            names
        };
        let all = toml::to_string(&Settings::default()).unwrap();
        assert_eq!(keys(example), keys(&all), "the example misses a key");
    }

    #[test]
    fn unknown_keys_are_named_with_their_line() {
        let refused = read("[node]\n\n# x\ndata_dri = \"x\"\n").unwrap_err().0;
        assert!(
            refused.starts_with("darktower.toml:4: unknown key `node.data_dri`"),
            "{refused}"
        );
        assert!(refused.contains("data_dir"), "{refused}");
        let refused = read("[node]\n[nod]\nx = 1").unwrap_err().0;
        assert!(
            refused.starts_with("darktower.toml:2: unknown key `nod`"),
            "{refused}"
        );
    }

    #[test]
    fn values_have_types() {
        let read = |text: &str| read(text).map_err(|refused| refused.0);
        let settings = read("[node]\nstop_within = \"1m 30s\"").unwrap();
        assert_eq!(settings.node.stop_within.as_secs(), 90);
        let refused = read("[node]\nstop_within = \"soon\"").unwrap_err();
        assert!(
            refused.starts_with("darktower.toml:2: `node.stop_within`"),
            "{refused}"
        );
        let refused = read("[state]\nlisten = \"here\"").unwrap_err();
        assert!(
            refused.starts_with("darktower.toml:2: `state.listen`"),
            "{refused}"
        );
        assert!(read("[state").is_err());
        let refused = read("[media]\nshards = 1\nloudest = 0").unwrap_err();
        assert!(
            refused.starts_with("darktower.toml:3: `media.loudest`"),
            "nobody would be heard: {refused}"
        );
    }

    #[test]
    fn variables_name_section_and_key() {
        assert!(known_variable("DARKTOWER_MEDIA__LISTEN").is_ok());
        assert!(known_variable("DARKTOWER_CONFIG").is_ok());
        assert!(known_variable("PATH").is_ok());
        let refused = known_variable("DARKTOWER_MEDIA_LISTEN").unwrap_err().0;
        assert!(refused.contains("DARKTOWER_MEDIA_LISTEN"), "{refused}");
    }
}
