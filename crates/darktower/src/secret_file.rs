//! Secrets stand in files, which their settings name.

use std::path::Path;

use darktower_wire::Secret;

use crate::refusal::Refusal;

/// The text of the file that `setting` names, without the line's end; nothing
/// where it names none.
pub(crate) fn read(setting: &str, path: &Path) -> Result<Option<Secret<String>>, Refusal> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let wrong = |why: &dyn std::fmt::Display| {
        Refusal::of_setting(format!("{setting} {}: {why}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(wrong(&"the file is empty"));
    }
    Ok(Some(Secret(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_files_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        assert_eq!(read("x", Path::new("")).unwrap(), None);
        std::fs::write(&file, " s3cret \r\n").unwrap();
        let secret = read("x", &file).unwrap();
        assert_eq!(secret, Some(Secret(" s3cret ".to_owned())));
        std::fs::write(&file, "\n").unwrap();
        let refused = read("state.password_file", &file).unwrap_err().to_string();
        assert!(
            refused.contains("state.password_file") && refused.contains("empty"),
            "{refused}"
        );
        assert!(read("x", &directory.path().join("none")).is_err());
    }
}
