//! Files that a configuration names.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::ConfigError;
use super::secret::Secret;

/// Where relative paths are looked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    /// The folder of the config file, looked at first.
    pub(crate) beside: Option<PathBuf>,
}

impl Paths {
    /// The existing file or folder that `name` means. `key` names who asks, for the error.
    pub(crate) fn find(&self, key: &str, name: &str) -> Result<PathBuf, ConfigError> {
        let given = Path::new(name);
        let mut tried: Vec<PathBuf> = match &self.beside {
            Some(folder) if given.is_relative() => vec![folder.join(given), given.to_owned()],
            _ => vec![given.to_owned()],
        };
        tried.dedup();
        match tried.iter().find(|path| path.exists()) {
            Some(path) => Ok(path.clone()),
            None => Err(ConfigError::NoSuchFile {
                key: key.to_owned(),
                name: name.to_owned(),
                tried,
            }),
        }
    }

    /// The secret that is given as a text or as a file, without the line end of the file.
    pub(crate) fn secret(
        &self,
        key: &str,
        text: Option<&Secret>,
        file: Option<&str>,
    ) -> Result<Option<SecretString>, ConfigError> {
        match (text, file) {
            (Some(_), Some(_)) => Err(ConfigError::SecretTwice { key: key.to_owned() }),
            (Some(Secret(secret)), None) => Ok(Some(secret.clone())),
            (None, None) => Ok(None),
            (None, Some(name)) => {
                let path = self.find(&format!("{key}_file"), name)?;
                match std::fs::read_to_string(&path) {
                    Ok(text) => Ok(Some(SecretString::from(text.trim_end_matches(['\r', '\n'])))),
                    Err(source) => Err(ConfigError::Unreadable {
                        what: "secret file",
                        path,
                        source,
                    }),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn beside_the_config_file_first() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Cargo.toml"), "beside").unwrap();
        std::fs::write(folder.path().join("password"), "hunter2\r\n").unwrap();
        let paths = Paths {
            beside: Some(folder.path().to_owned()),
        };
        assert_eq!(
            paths.find("key", "Cargo.toml").unwrap(),
            folder.path().join("Cargo.toml")
        );
        assert_eq!(
            paths.find("key", "src").unwrap(),
            Path::new("src"),
            "then the current folder"
        );
        let secret = paths
            .secret("kafka.sasl_password", None, Some("password"))
            .unwrap()
            .unwrap();
        assert_eq!(secret.expose_secret(), "hunter2");
    }

    #[test]
    fn a_missing_file_says_where_it_was_looked_for() {
        let paths = Paths {
            beside: Some("/etc/restore".into()),
        };
        assert_eq!(
            paths
                .find("kafka.ssl_ca_file", "no-ca.crt")
                .unwrap_err()
                .to_string(),
            "kafka.ssl_ca_file names the file \"no-ca.crt\", which does not exist; looked for /etc/restore/no-ca.crt and no-ca.crt"
        );
    }
}
